//! Whatever is in a file of the spool, reading it is bounded, stays inside of it, and goes forward. Half of the inputs get
//! checksums that are right, so that what comes after them is reached too.
//!
//!     cargo +nightly fuzz run spool
#![no_main]

use honeyhive::fuzzing::read_spool_file;
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 24;

fuzz_target!(|data: &[u8]| {
    let _ = read_spool_file(data);

    // The same bytes as the payloads and lengths of records: two bytes of lengths, then what they say of.
    let mut file = Vec::new();
    let mut rest = data;
    let mut records = 0;
    while let [meta, body, after @ ..] = rest {
        let (meta, body) = (usize::from(*meta), usize::from(*body));
        let Some((payload, after)) = after.split_at_checked(meta + body) else {
            break;
        };
        let position = file.len();
        file.extend_from_slice(b"\xf5HHS\x01\x01\0\0");
        file.extend_from_slice(&(meta as u32).to_le_bytes());
        file.extend_from_slice(&(body as u32).to_le_bytes());
        file.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let mut header = (position as u64).to_le_bytes().to_vec();
        header.extend_from_slice(&file[position..]);
        file.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        assert_eq!(file.len() - position, HEADER);
        file.extend_from_slice(payload);
        records += 1;
        rest = after;
    }
    assert_eq!(read_spool_file(&file), records);
    // And with what is left of the input behind them.
    file.extend_from_slice(rest);
    assert!(read_spool_file(&file) >= records);
});
