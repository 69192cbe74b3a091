//! Virtual addresses for names: each name that is asked for gets an address of its own, by which the proxy knows the name
//! when a connection comes. So names are looked up where the connection goes, and no query leaves the machine.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use ipnet::Ipv4Net;
use tokio::sync::Mutex;

/// Time for which an answer may be kept, in seconds. Short, since an address goes to another name when all are in use.
const TTL_SECONDS: u32 = 1;
/// Most names that are known at a time.
const NAMES_MAX: u32 = 65_536;

/// The network of virtual addresses unless another one is given (RFC 2544, not routed).
pub(crate) const DEFAULT_NET: &str = "198.18.0.0/15";

/// Names with their addresses. The name that was not used for longest makes room for a new one.
#[derive(Debug)]
pub(crate) struct Names {
    net: Ipv4Net,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<String, u32>,
    /// The name of each index, and when it was used last.
    by_index: HashMap<u32, (String, u64)>,
    /// Indices by when they were used last.
    by_use: BTreeMap<u64, u32>,
    uses: u64,
}

impl Known {
    fn touch(&mut self, index: u32) {
        let Some((_, used)) = self.by_index.get_mut(&index) else {
            return;
        };
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, index);
    }

    /// Returns the index of a name, which gets the oldest one if it is new and `most` are in use.
    fn index_of(&mut self, name: &str, most: u32) -> u32 {
        if let Some(&index) = self.by_name.get(name) {
            self.touch(index);
            return index;
        }
        let next = u32::try_from(self.by_index.len()).unwrap_or(most);
        let index = match self.by_use.first_key_value() {
            Some((_, &oldest)) if next >= most => oldest,
            _ => next,
        };
        self.uses += 1;
        let new = (name.to_owned(), self.uses);
        if let Some((old, used)) = self.by_index.insert(index, new) {
            self.by_name.remove(&old);
            self.by_use.remove(&used);
        }
        self.by_name.insert(name.to_owned(), index);
        self.by_use.insert(self.uses, index);
        index
    }
}

impl Names {
    pub(crate) fn new(net: Ipv4Net) -> Self {
        Self {
            net: net.trunc(),
            known: Mutex::default(),
        }
    }

    /// Returns how many names can be known: neither the first nor the last address of the network is given out.
    fn most(&self) -> u32 {
        let hosts = (u64::from(u32::MAX) >> self.net.prefix_len()).saturating_sub(1);
        u32::try_from(hosts).unwrap_or(u32::MAX).clamp(1, NAMES_MAX)
    }

    fn address(&self, index: u32) -> Ipv4Addr {
        let first = u32::from(self.net.network());
        Ipv4Addr::from(first.wrapping_add(index).wrapping_add(1))
    }

    /// Returns every name with its number, the one that was not used for longest first. Not for a task.
    pub(crate) fn known(&self) -> Vec<(u32, String)> {
        let known = self.known.blocking_lock();
        let by_use = known.by_use.values();
        let named = by_use.filter_map(|index| Some((*index, known.by_index.get(index)?.0.clone())));
        named.collect()
    }

    /// Lets names have the numbers that they had in another process. Not for a task.
    pub(crate) fn take_known(&self, names: Vec<(u32, String)>) {
        let mut known = Known::default();
        // The numbers are given out one after the other.
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        for (index, name) in names {
            let is_new = !known.by_index.contains_key(&index) && !known.by_name.contains_key(&name);
            if index >= count.min(self.most()) || !is_new {
                return;
            }
            known.uses += 1;
            known.by_index.insert(index, (name.clone(), known.uses));
            known.by_use.insert(known.uses, index);
            known.by_name.insert(name, index);
        }
        *self.known.blocking_lock() = known;
    }

    /// Returns whether an address may be a virtual one.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if self.net.contains(&address))
    }

    /// Returns the name that an address was given to.
    pub(crate) async fn name(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let index = u32::from(address)
            .checked_sub(u32::from(self.net.network()))?
            .checked_sub(1)?;
        let mut known = self.known.lock().await;
        known.touch(index);
        known.by_index.get(&index).map(|(name, _)| name.clone())
    }

    /// Answers a query; nothing for what is not one.
    pub(crate) async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let asked = query.metadata;
        if asked.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::response(asked.id, asked.op_code);
        answer.metadata.recursion_desired = asked.recursion_desired;
        answer.metadata.recursion_available = true;
        let question = query.queries.into_iter().next();
        answer.add_queries(question.clone());
        let Some(question) = question.filter(|_| asked.op_code == OpCode::Query) else {
            answer.metadata.response_code = ResponseCode::NotImp;
            return answer.to_vec().ok();
        };
        // Other records of a name are not known here: an empty answer makes clients ask for an address.
        if question.query_type() == RecordType::A && question.query_class() == DNSClass::IN {
            let name = question.name().to_ascii().to_ascii_lowercase();
            let name = name.trim_end_matches('.');
            let address = {
                let mut known = self.known.lock().await;
                self.address(known.index_of(name, self.most()))
            };
            let data = RData::A(address.into());
            answer.add_answer(Record::from_rdata(
                question.name().clone(),
                TTL_SECONDS,
                data,
            ));
        }
        answer.to_vec().ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use hickory_proto::op::Query;
    use hickory_proto::rr::Name;

    use super::*;

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(name).expect(name);
        message.add_query(Query::query(name, kind));
        message.to_vec().expect("a message")
    }

    fn ask(names: &Names, name: &str) -> IpAddr {
        let answer = block_on(names.answer(&query(name, RecordType::A))).expect("an answer");
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!(answer.metadata.id, 7);
        answer.answers[0].data.ip_addr().expect("an address")
    }

    #[test]
    fn each_name_has_an_address_and_each_address_its_name() {
        let names = Names::new(DEFAULT_NET.parse().expect("a network"));
        let one = ask(&names, "One.test.");
        assert_eq!(one, ask(&names, "one.TEST."));
        let two = ask(&names, "two.test.");
        assert_ne!(one, two);
        assert!(names.contains(one) && names.contains(two));
        assert_eq!(block_on(names.name(one)).as_deref(), Some("one.test"));
        assert_eq!(block_on(names.name([198, 18, 9, 9].into())), None);
        assert_eq!(block_on(names.name([198, 18, 0, 0].into())), None);
    }

    #[test]
    fn the_name_that_was_not_used_for_longest_makes_room() {
        let names = Names::new("192.0.2.0/30".parse().expect("a network"));
        let one = ask(&names, "one.test.");
        let two = ask(&names, "two.test.");
        assert_eq!(ask(&names, "one.test."), one);
        assert_eq!(ask(&names, "three.test."), two);
        assert_eq!(block_on(names.name(two)).as_deref(), Some("three.test"));
        assert_eq!(block_on(names.name(one)).as_deref(), Some("one.test"));
    }

    #[test]
    fn what_is_no_question_for_an_address_gets_none() {
        let names = Names::new(DEFAULT_NET.parse().expect("a network"));
        for kind in [RecordType::AAAA, RecordType::MX, RecordType::HTTPS] {
            let answer = block_on(names.answer(&query("one.test.", kind))).expect("an answer");
            let answer = Message::from_vec(&answer).expect("a message");
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert!(answer.answers.is_empty(), "{kind}");
        }
        for bytes in [&b""[..], &[0; 5], &[0xff; 600]] {
            assert_eq!(block_on(names.answer(bytes)), None);
        }
        // A response is not answered: two such servers would never stop.
        let mut response = query("one.test.", RecordType::A);
        response[2] |= 0x80;
        assert_eq!(block_on(names.answer(&response)), None);
    }

    #[test]
    fn names_keep_their_addresses_in_another_process() {
        let net: Ipv4Net = "198.18.0.0/29".parse().expect("a network");
        let (old, new) = (Names::new(net), Names::new(net));
        let most = old.most();
        for name in ["a", "b", "c"] {
            block_on(old.known.lock()).index_of(name, most);
        }
        block_on(old.known.lock()).touch(0);
        let kept = old.known();
        let names: Vec<&str> = kept.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        new.take_known(kept.clone());
        assert_eq!(new.known(), kept);
        for bad in [
            vec![(0, "a"), (0, "b")],
            vec![(7, "a")],
            vec![(0, "a"), (1, "a")],
        ] {
            let empty = Names::new(net);
            let bad = bad
                .into_iter()
                .map(|(index, name)| (index, name.to_owned()));
            empty.take_known(bad.collect());
            assert!(empty.known().is_empty());
        }
    }
}
