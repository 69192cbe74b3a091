//! Inputs from inputs: seeded changes, and the search for a smaller input that fails in the same way.

use netstack::base::Rng;

/// Numbers at the edges of their ranges, as bytes.
const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
/// Changes of one input, at most.
const CHANGES_MAX: u32 = 6;
/// Attempts to make a failing input smaller.
const ATTEMPTS_MAX: usize = 4_000;

/// Returns a changed copy of one of `corpus`, or new bytes if there is none; at most `longest` bytes of those. The changes
/// use the words of `dictionary`, too.
pub fn mutated(
    rng: &mut Rng,
    corpus: &[Vec<u8>],
    dictionary: &[Vec<u8>],
    longest: usize,
) -> Vec<u8> {
    let choices = corpus.len() as u32;
    if choices == 0 || rng.below(4) == 0 {
        let mut data = vec![0; rng.below(longest as u32 + 1) as usize];
        rng.fill(&mut data);
        return data;
    }
    let mut data = corpus[rng.below(choices) as usize].clone();
    for _ in 0..=rng.below(CHANGES_MAX) {
        let words = dictionary.len() as u32;
        if words > 0 && rng.below(4) == 0 {
            let word = &dictionary[rng.below(words) as usize];
            insert(rng, &mut data, word);
            continue;
        }
        let other = &corpus[rng.below(choices) as usize];
        change(rng, &mut data, other);
    }
    data
}

/// Puts a word into the data, or over a part of it.
fn insert(rng: &mut Rng, data: &mut Vec<u8>, word: &[u8]) {
    let at = rng.below(data.len() as u32 + 1) as usize;
    let covers = if rng.below(2) == 0 { word.len() } else { 0 };
    let end = data.len().min(at + covers);
    data.splice(at..end, word.iter().copied());
}

fn change(rng: &mut Rng, data: &mut Vec<u8>, other: &[u8]) {
    let at = rng.below(data.len() as u32 + 1) as usize;
    match rng.below(7) {
        0 => data.truncate(at),
        1 => {
            let mut more = vec![0; rng.below(40) as usize];
            rng.fill(&mut more);
            data.splice(at..at, more);
        }
        2 => {
            data.truncate(at);
            data.extend(other.get(at..).unwrap_or_default());
        }
        3 => {
            let end = data.len().min(at + rng.below(16) as usize);
            data.drain(at..end);
        }
        4 => {
            let end = data.len().min(at + rng.below(64) as usize);
            let part = data[at..end].to_vec();
            data.splice(at..at, part);
        }
        5 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = EDGES[rng.below(EDGES.len() as u32) as usize];
            }
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}

/// Returns an input that is as short and as plain as can be found, for which `fails` is still true.
pub fn minimised(data: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = data.to_vec();
    let mut attempts = 0;
    let mut size = best.len().div_ceil(2);
    while size > 0 {
        let (mut at, mut shrank) = (0, false);
        while at < best.len() && attempts < ATTEMPTS_MAX {
            let end = best.len().min(at + size);
            let mut shorter = best.clone();
            shorter.drain(at..end);
            attempts += 1;
            if fails(&shorter) {
                best = shorter;
                shrank = true;
            } else {
                at += size;
            }
        }
        if !shrank || size > 1 {
            size /= 2;
        }
        if attempts >= ATTEMPTS_MAX {
            break;
        }
    }
    for at in 0..best.len() {
        if best[at] == 0 || attempts >= ATTEMPTS_MAX {
            continue;
        }
        let mut plainer = best.clone();
        plainer[at] = 0;
        attempts += 1;
        if fails(&plainer) {
            best = plainer;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_reduced_to_what_makes_it_fail() {
        let mut data = vec![9; 500];
        data[100] = 0xaa;
        data[400] = 0xbb;
        let fails = |data: &[u8]| {
            let first = data.iter().position(|byte| *byte == 0xaa);
            first.is_some_and(|at| data[at..].contains(&0xbb))
        };
        assert_eq!(minimised(&data, fails), [0xaa, 0xbb]);
    }

    #[test]
    fn inputs_come_from_the_corpus_and_repeat_with_their_seed() {
        let corpus = [b"abcdefgh".to_vec(), b"12345678".to_vec()];
        let words = [b"<word>".to_vec()];
        let draw = |seed| mutated(&mut Rng::from_u64(seed), &corpus, &words, 30);
        let all: Vec<_> = (0..200).map(draw).collect();
        assert_eq!(draw(7), all[7]);
        assert!(all.iter().any(|data| data.starts_with(b"abc")));
        assert!(all.iter().filter(|data| !corpus.contains(data)).count() > 150);
        let has_word = |data: &&Vec<u8>| data.windows(6).any(|part| part == b"<word>");
        assert!(all.iter().filter(has_word).count() > 20);
        assert!(mutated(&mut Rng::from_u64(1), &[], &words, 30).len() <= 30);
    }
}
