use super::*;

/// Writing to a directory of this name takes seconds.
pub(crate) const HANGS: &str = "disk-that-hangs";
const BIG: u64 = 64 << 20;

fn events(events: u64) -> Counted {
    Counted { events, updates: 0 }
}

fn open(directory: &Path) -> Spool {
    Spool::open(directory, BIG).unwrap()
}

fn put(spool: &mut Spool, body: &str) {
    spool
        .append(Kind::Spans, b"{}", body.as_bytes(), events(1))
        .unwrap();
}

/// Everything there is, as delivered.
fn drain(spool: &mut Spool) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(stored) = spool.next() {
        found.push(String::from_utf8(stored.body.to_vec()).unwrap());
        spool.done(events(1));
    }
    found
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("body {n}")).collect()
}

/// The bytes of a segment with these records, of which so many are marked as delivered.
fn segment(count: usize, delivered: usize) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    bodies(count).iter().for_each(|body| put(&mut spool, body));
    for _ in 0..delivered {
        spool.next().unwrap();
        spool.done(events(1));
    }
    let files = files(directory.path());
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read(&files[0]).unwrap()
}

/// What a spool makes of a file that a process left behind.
fn recovered(bytes: &[u8]) -> (Vec<String>, Damage) {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("0000000000000001-1-0000000000000001.{EXTENSION}");
    fs::write(directory.path().join(file), bytes).unwrap();
    let mut spool = open(directory.path());
    let found = drain(&mut spool);
    assert!(files(directory.path()).is_empty());
    (found, spool.take_damage())
}

#[test]
fn records_come_back_in_order_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    bodies(5).iter().for_each(|body| put(&mut spool, body));
    assert!(spool.bytes() > 0);
    assert_eq!(drain(&mut spool), bodies(5));
    assert!(spool.is_empty() && files(directory.path()).is_empty());
    assert_eq!(spool.take_damage(), Damage::default());
}

#[test]
fn a_record_stays_until_its_fate_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    put(&mut spool, "one");
    assert_eq!(spool.next().unwrap().body, "one");
    assert_eq!(spool.next().unwrap().body, "one");
    // What is written while it is read goes behind it.
    put(&mut spool, "two");
    assert_eq!(drain(&mut spool), ["one", "two"]);
}

#[test]
fn after_a_crash_what_was_delivered_is_not_delivered_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    bodies(4).iter().for_each(|body| put(&mut spool, body));
    for _ in 0..3 {
        spool.next().unwrap();
        spool.done(events(1));
    }
    drop(spool);
    let mut next = open(directory.path());
    let stored = next.next().unwrap();
    assert!(!stored.own);
    assert_eq!(drain(&mut next), ["body 3"]);
    assert_eq!(next.take_damage(), Damage::default());
}

#[test]
fn a_process_killed_at_any_byte_of_a_write_loses_that_record_at_most() {
    let bytes = segment(6, 2);
    let all = bodies(6);
    let mut longest = 0;
    for length in 0..=bytes.len() {
        let (found, damage) = recovered(&bytes[..length]);
        // The start of the list while it is written; without its head once marks follow.
        let from = found.first().map_or(0, |first| {
            all.iter().position(|body| body == first).unwrap()
        });
        assert_eq!(found, all[from..from + found.len()], "{length} bytes");
        assert_eq!(damage, Damage::default(), "{length} bytes");
        let upto = from + found.len();
        assert!(upto >= longest, "{length} bytes: what was whole is gone");
        longest = upto;
    }
    assert_eq!(longest, 6);
    assert_eq!(recovered(&bytes).0, all[2..]);
}

#[test]
fn a_damaged_byte_costs_one_record_and_is_counted() {
    let bytes = segment(4, 0);
    let all = bodies(4);
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x55;
        let (found, damage) = recovered(&damaged);
        assert_eq!(found.len(), 3, "byte {position}");
        assert!(found.iter().all(|body| all.contains(body)));
        assert!(found.is_sorted());
        assert_eq!(damage.records, 1, "byte {position}");
    }
}

#[test]
fn own_events_that_cannot_be_read_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    bodies(3).iter().for_each(|body| put(&mut spool, body));
    let file = &files(directory.path())[0];
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    fs::write(file, bytes).unwrap();
    assert_eq!(drain(&mut spool), ["body 0", "body 2"]);
    let damage = spool.take_damage();
    assert_eq!((damage.records, damage.own), (1, events(1)));
}

#[test]
fn what_does_not_fit_is_refused_and_fits_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let cap = 1 << 20;
    let mut spool = Spool::open(directory.path(), cap).unwrap();
    let body = "x".repeat(100_000);
    let mut taken = 0;
    loop {
        match spool.append(Kind::Spans, b"{}", body.as_bytes(), events(1)) {
            Ok(()) => taken += 1,
            Err(Refusal::Full) => break,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    assert_eq!(taken, 10);
    let on_disk: u64 = files(directory.path())
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(on_disk <= cap && on_disk == spool.bytes());
    // What is there is not given up for it.
    spool.next().unwrap();
    spool.done(events(1));
    put(&mut spool, &body);
    assert_eq!(drain(&mut spool).len(), 10);
}

#[test]
fn notes_of_deliveries_do_not_exceed_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let cap = 1 << 20;
    let mut spool = Spool::open(directory.path(), cap).unwrap();
    let mut taken = 0;
    while spool
        .append(Kind::Spans, b"{}", b"little", events(1))
        .is_ok()
    {
        taken += 1;
    }
    assert!(taken > 10_000);
    let size = |directory: &Path| -> u64 {
        let files = files(directory);
        files
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum()
    };
    for n in 0..taken {
        spool.next().unwrap();
        spool.done(events(1));
        assert!(n % 100 != 0 || size(directory.path()) <= cap);
    }
    assert!(spool.next().is_none());
}

#[test]
fn a_directory_that_is_deleted_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("spool");
    let mut spool = open(&directory);
    put(&mut spool, "before");
    fs::remove_dir_all(&directory).unwrap();
    spool.measured = None;
    put(&mut spool, "after");
    assert_eq!(files(&directory).len(), 1);
    assert_eq!(drain(&mut spool), ["before", "after"]);
}

#[test]
fn the_limit_is_for_all_who_share_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let cap = 1 << 20;
    let mut one = Spool::open(directory.path(), cap).unwrap();
    put(&mut one, &"x".repeat(1_000_000));
    let mut other = Spool::open(directory.path(), cap).unwrap();
    let refused = other.append(Kind::Spans, b"", &[0; 100_000], events(1));
    assert!(matches!(refused, Err(Refusal::Full)));
}

#[test]
fn what_another_one_writes_is_left_to_it_while_it_lives() {
    let directory = tempfile::tempdir().unwrap();
    let mut one = open(directory.path());
    let mut other = open(directory.path());
    put(&mut one, "one");
    put(&mut other, "other");
    assert_eq!(drain(&mut other), ["other"]);
    assert!(other.next().is_none());
    drop(one);
    other.looked = None;
    assert_eq!(drain(&mut other), ["one"]);
}

#[test]
fn order_is_kept_by_numbers() {
    let directory = tempfile::tempdir().unwrap();
    // Each is a process that ended; the clock has no say in it.
    for body in bodies(12) {
        let mut spool = open(directory.path());
        put(&mut spool, &body);
    }
    for (index, file) in files(directory.path()).iter().rev().enumerate() {
        let file = fs::File::options().write(true).open(file).unwrap();
        let then = std::time::UNIX_EPOCH + Duration::from_secs(1000 + index as u64);
        file.set_modified(then).unwrap();
    }
    assert_eq!(drain(&mut open(directory.path())), bodies(12));
}

#[test]
fn many_files_are_taken_over_a_few_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    for body in bodies(50) {
        put(&mut open(directory.path()), &body);
    }
    let mut spool = open(directory.path());
    assert_eq!(spool.segments.len(), MAX_ADOPTED);
    assert_eq!(drain(&mut spool).len(), 50);
    assert!(files(directory.path()).is_empty());
}

#[test]
fn what_is_no_segment_is_left_alone_and_what_never_became_one_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    fs::write(path.join("0000000000000002-1-2.hh2"), "another format").unwrap();
    fs::write(path.join("0000000000000003-1-2.new"), "").unwrap();
    fs::create_dir(path.join("0000000000000004-1-2.hh1")).unwrap();
    let mut spool = open(path);
    put(&mut spool, "x");
    assert_eq!(drain(&mut spool), ["x"]);
    drop(spool);
    let names: Vec<_> = files(path)
        .iter()
        .map(|file| file.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "0000000000000002-1-2.hh2",
            "0000000000000004-1-2.hh1",
            "notes.txt"
        ]
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/for/it");
    let mut spool = open(&path);
    put(&mut spool, "x");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&files(&path)[0]), 0o600);
}

#[test]
fn a_directory_that_cannot_be_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Spool::open(&file.join("below"), BIG).is_err());
    assert!(Spool::open(&file, BIG).is_err());
}

#[test]
fn the_directory_comes_from_the_settings() {
    let config = |spool_dir: Option<&str>, test_mode| Config {
        spool_dir: spool_dir.map(str::to_owned),
        server_url_is_default: false,
        test_mode,
        ..Config::default()
    };
    assert_eq!(wanted(&config(None, false)), None);
    assert_eq!(wanted(&config(Some("/a"), true)), None);
    assert_eq!(wanted(&config(Some("/a"), false)), Some("/a".into()));
    let inert = Config {
        server_url_is_default: true,
        ..config(Some("/a"), false)
    };
    assert_eq!(wanted(&inert), None);
    let default = |service: &str| {
        let config = Config {
            service_name: Some(service.to_owned()),
            ..config(Some("default"), false)
        };
        wanted(&config).unwrap()
    };
    let shop = default("a shop/../x");
    assert!(shop.ends_with("honeyhive/spool/a-shop----x") && shop.is_absolute());
    assert_ne!(shop, default("a bank"));
    let resilient = Config {
        resilience: ResilienceLevel::Resilient,
        ..config(None, false)
    };
    assert!(wanted(&resilient).is_some());
}
