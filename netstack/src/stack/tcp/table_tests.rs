use std::net::SocketAddr;

use super::*;
use crate::base::{Instant, Rng, TcpConfig};
use crate::stack::foreign::locked;
use crate::stack::tcp::options::Options;
use crate::tcp::{Open, SeqNum, Tcp};

fn connection(port: u16) -> Arc<Connection> {
    let local: SocketAddr = "10.0.0.1:80".parse().expect("an address");
    let remote = SocketAddr::new(local.ip(), port);
    let open = Open {
        isn: SeqNum(1),
        ts_offset: 0,
        mss: 1460,
        path_mss: 1460,
    };
    let tcp = Tcp::connect(&Arc::new(TcpConfig::default()), open, Instant::ZERO);
    Connection::new(
        FlowKey::new(local, remote),
        0,
        tcp,
        &Options::with_backlog(1),
        None,
    )
}

fn table(limit: usize) -> ConnectionTable {
    ConnectionTable::new(HashKey::random(&mut Rng::from_seed([7; 32])), limit, 2)
}

#[test]
fn a_full_table_is_logged_from_time_to_time() {
    let table = table(1);
    let at = Instant::from_millis;
    let logged = [1_000, 1_001, 10_999, 11_000, 11_001].map(|now| table.should_log_full(at(now)));
    assert_eq!(logged, [true, false, false, true, false]);
}

#[test]
fn the_table_holds_each_four_tuple_once_and_no_more_than_its_limit() {
    let table = table(2);
    locked(|key| {
        let first = connection(1);
        assert_eq!(table.insert(&mut key.ctx(), Arc::clone(&first)), Ok(()));
        assert_eq!(
            table.insert(&mut key.ctx(), connection(1)),
            Err(InsertError::Exists)
        );
        assert_eq!(table.len(), 1, "a refused insertion leaves no count behind");
        assert_eq!(table.insert(&mut key.ctx(), connection(2)), Ok(()));
        assert_eq!(
            table.insert(&mut key.ctx(), connection(3)),
            Err(InsertError::Full)
        );
        assert_eq!(table.snapshot(&mut key.ctx()).len(), 2);
        assert!(table.contains(&mut key.ctx(), &first.flow));
    });
}

#[test]
fn a_successor_with_the_same_four_tuple_is_not_removed() {
    let table = table(8);
    locked(|key| {
        let old = connection(1);
        let new = connection(1);
        assert_eq!(table.insert(&mut key.ctx(), Arc::clone(&old)), Ok(()));
        assert!(table.remove(&mut key.ctx(), &old));
        assert_eq!(table.insert(&mut key.ctx(), Arc::clone(&new)), Ok(()));
        assert!(!table.remove(&mut key.ctx(), &old));
        let found = table.get(&mut key.ctx(), &new.flow).expect("the successor");
        assert!(Arc::ptr_eq(&found, &new));
        assert_eq!(table.len(), 1);
    });
}
