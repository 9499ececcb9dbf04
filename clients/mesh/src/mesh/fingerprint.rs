//! Fingerprints of certificates, and the ids that belong to them.

use std::collections::{BTreeMap, HashMap};

use super::limits::MAX_KNOWN_IDS;

/// The fingerprint of a description: 32 bytes in upper-case hex, separated by colons. Returns `None` unless all lines
/// with a fingerprint have the same one: an engine may accept a certificate that matches any of them.
pub(crate) fn read(sdp: &str) -> Option<String> {
    let mut found = None;
    for line in lines(sdp).filter(|line| is_fingerprint(line)) {
        let fingerprint = read_line(line)?;
        if *found.get_or_insert_with(|| fingerprint.clone()) != fingerprint {
            return None;
        }
    }
    found
}

/// Writes the lines with a fingerprint in the one form that the engine compares.
pub(crate) fn normalize(sdp: &str) -> String {
    let mut normalized = String::with_capacity(sdp.len());
    for line in lines(sdp) {
        match read_line(line) {
            Some(fingerprint) => normalized.extend(["a=fingerprint:sha-256 ", &fingerprint]),
            None => normalized.push_str(line),
        }
        normalized.push_str("\r\n");
    }
    normalized
}

fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.split(['\r', '\n']).filter(|line| !line.is_empty())
}

fn is_fingerprint(line: &str) -> bool {
    line.to_ascii_lowercase().contains("fingerprint")
}

fn read_line(line: &str) -> Option<String> {
    const PREFIX: &str = "a=fingerprint:sha-256 ";
    let (prefix, fingerprint) = line.split_at_checked(PREFIX.len())?;
    let is_valid = prefix.eq_ignore_ascii_case(PREFIX)
        && fingerprint.len() == 32 * 3 - 1
        && fingerprint.bytes().enumerate().all(|(index, byte)| match index % 3 {
            2 => byte == b':',
            _ => byte.is_ascii_hexdigit(),
        });
    is_valid.then(|| fingerprint.to_ascii_uppercase())
}

/// The owners of the ids that connected last: the first peer that connects with an id owns it.
#[derive(Debug, Default)]
pub(crate) struct KnownIds {
    fingerprints: HashMap<u32, (String, u64)>,
    by_age: BTreeMap<u64, u32>,
    next: u64,
}

impl KnownIds {
    pub(crate) fn get(&self, id: u32) -> Option<&str> {
        self.fingerprints.get(&id).map(|(fingerprint, _)| fingerprint.as_str())
    }

    /// Forgets the id that connected the longest time ago if there are too many.
    pub(crate) fn insert(&mut self, id: u32, fingerprint: String) {
        self.next += 1;
        if let Some((_, age)) = self.fingerprints.insert(id, (fingerprint, self.next)) {
            self.by_age.remove(&age);
        }
        self.by_age.insert(self.next, id);
        if self.by_age.len() > MAX_KNOWN_IDS
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.fingerprints.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_last_1000_peers_are_known() {
        let mut known = KnownIds::default();
        for id in 1..=1_000 {
            known.insert(id, format!("{id}"));
        }
        known.insert(1, "again".into());
        known.insert(1_001, "new".into());
        assert_eq!(known.get(1), Some("again"));
        assert_eq!(known.get(2), None);
        assert_eq!(known.get(3), Some("3"));
        assert_eq!((known.fingerprints.len(), known.by_age.len()), (1_000, 1_000));
    }

    #[test]
    fn normalized_description_has_the_same_fingerprint() {
        let lower = format!("v=0\na=FINGERPRINT:SHA-256 {}\nm=x", vec!["ab"; 32].join(":"));
        let normal = format!("v=0\r\na=fingerprint:sha-256 {}\r\nm=x\r\n", vec!["AB"; 32].join(":"));
        assert_eq!(normalize(&lower), normal);
        assert_eq!(read(&lower), read(&normal));
        assert!(read(&normal).is_some());
    }
}
