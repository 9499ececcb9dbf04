//! Descriptions of browsers, changed so that the engine answers as this peer wants, and those of the engine, changed so
//! that browsers and older descriptions work with them.

use crate::mesh::normalize;

/// Writes fingerprints in one form, makes all media inactive, and leaves out candidates that the engine cannot use.
///
/// This peer neither sends nor receives media. `inactive` is a valid answer to every direction, and makes the other
/// peer send nothing. The names of mDNS candidates (`.local`) are not resolved.
pub(crate) fn for_engine(sdp: &str) -> String {
    const DIRECTIONS: [&str; 3] = ["a=sendrecv", "a=sendonly", "a=recvonly"];
    let mut changed = String::with_capacity(sdp.len());
    for line in normalize(sdp).lines() {
        let is_usable = match line.strip_prefix("a=") {
            Some(candidate) if candidate.starts_with("candidate:") => {
                str0m::Candidate::from_sdp_string(candidate).is_ok()
            }
            _ => true,
        };
        if is_usable {
            changed.push_str(if DIRECTIONS.contains(&line) { "a=inactive" } else { line });
            changed.push_str("\r\n");
        }
    }
    changed
}

/// Writes the version of a description of the engine, and a format for each section.
///
/// The engine writes the same version into every description, so that others could not tell which one is the latest. It
/// rejects a section whose formats it does not know with an empty list, which is not valid SDP (RFC 8866, section 9).
pub(crate) fn from_engine(sdp: &str, version: u64) -> String {
    let mut changed = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        if line.starts_with("o=") {
            let mut fields: Vec<_> = line.split(' ').collect();
            let version = version.to_string();
            if let Some(field) = fields.get_mut(2) {
                *field = &version;
            }
            changed.push_str(&fields.join(" "));
        } else {
            changed.push_str(line);
        }
        if line.starts_with("m=") && line.ends_with(' ') {
            changed.push('0');
        }
        changed.push_str("\r\n");
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_becomes_inactive_and_names_of_hosts_are_left_out() {
        let sdp = "v=0\r\n\
            a=candidate:1 1 udp 2113937151 0a1b2c3d-1111-2222-3333-444455556666.local 50000 typ host\r\n\
            a=candidate:2 1 udp 2113937151 192.0.2.7 50000 typ host generation 0\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendrecv\r\n";
        let expected = "v=0\r\na=candidate:2 1 udp 2113937151 192.0.2.7 50000 typ host generation 0\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=inactive\r\n";
        assert_eq!(for_engine(sdp), expected);
    }

    #[test]
    fn description_of_the_engine_gets_a_version_and_a_format_for_each_section() {
        let sdp = "v=0\r\no=str0m-0.24.1 17 2 IN IP4 0.0.0.0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF \r\na=inactive\r\n";
        let expected = "v=0\r\no=str0m-0.24.1 17 35 IN IP4 0.0.0.0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=inactive\r\n";
        assert_eq!(from_engine(sdp, 35), expected);
    }
}
