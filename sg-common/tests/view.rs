//! [`ImageView`] gives an answer or none, whatever the words are.

use std::net::IpAddr;

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use sg_common::{
    Direction, Family, ImageView,
    flow::Timeout,
    image::{MAGIC, hash_ifindex, header, record},
    interval::{Kind, MAX_ORDER, Ref, SMALL_ORDER, Words as _},
    view::{ImageError, InterfaceRecord, InterfaceView, bounded},
};

/// Answers by kind: yes, no, none.
#[derive(Debug, Default)]
struct Tally([u32; 3]);

impl Tally {
    fn count(&mut self, answer: Option<bool>) {
        self.0[answer.map_or(2, usize::from)] += 1;
    }
}

fn address(rng: &mut dyn Rng) -> IpAddr {
    match rng.random_range(0..4) {
        0 => IpAddr::V4(rng.random::<u32>().into()),
        1 => IpAddr::V6(rng.random::<u128>().into()),
        // Low ones, at which few words of a map differ.
        2 => IpAddr::V4(rng.random_range(0..64u32).into()),
        _ => IpAddr::V6(rng.random_range(0..64u128).into()),
    }
}

fn ask(rng: &mut dyn Rng, interface: InterfaceView<'_>, tally: &mut Tally) {
    let (peer, direction) = (address(rng), *Direction::BOTH.choose(rng).expect("two"));
    let (service, protocol) = (rng.random_range(0..1 << 24), rng.random());
    let family = Family::of(peer);
    tally.count(interface.allows(direction, peer, service));
    tally.count(interface.allows_all(direction, peer, protocol));
    tally.count(interface.is_untracked(direction, family, service));
    tally.count(interface.owns(peer));
    interface.record.timeout(Timeout::Fragment);
    interface.record.mac();
}

/// Words of any size, small numbers, and refs that lead to something or far away.
fn word(rng: &mut dyn Rng, length: u32) -> u32 {
    let kinds = [Kind::Leaf, Kind::Run, Kind::Table, Kind::Parity];
    let orders = [0, 1, 2, SMALL_ORDER, 5, MAX_ORDER, MAX_ORDER + 1, 31];
    match rng.random_range(0..8) {
        0 => rng.random(),
        1 => u32::MAX - rng.random_range(0..3),
        2 => rng.random_range(0..length * 2),
        3..=5 => {
            let order = orders[rng.random_range(0..orders.len())];
            let unit = rng.random_range(0..length / 4 + 2);
            Ref::at(*kinds.choose(rng).expect("four"), order, unit).0
        }
        _ => rng.random_range(0..64),
    }
}

/// A header that holds, before words that need not.
fn with_header(words: &mut Vec<u32>, slots: u32, mask: u32) {
    let hash = header::LEN + (mask + 1 + 4) * 2;
    let records = hash.next_multiple_of(record::LEN);
    words.resize(words.len().max((records + slots * record::LEN) as usize), 0);
    words[header::MAGIC as usize] = MAGIC;
    words[header::WORDS as usize] = words.len() as u32;
    words[header::HASH_MASK as usize] = mask;
    words[header::SLOTS as usize] = slots;
    words[header::RECORDS as usize] = records;
}

#[test]
fn any_words_give_an_answer_or_none() {
    let mut tally = Tally::default();
    let mut found = 0;
    for seed in 0..40_000 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let length = rng.random_range(0..600);
        let mut words: Vec<u32> = (0..length).map(|_| word(rng, length)).collect();
        // Mostly no image; it must be no panic either.
        let _ = ImageView::new(&words);
        let slots = rng.random_range(1..6);
        with_header(&mut words, slots, [0, 3, 7][rng.random_range(0..3)]);
        let view = ImageView::new(&words).expect("the header holds");
        for interface in view.interfaces() {
            ask(rng, interface, &mut tally);
        }
        let hash = header::LEN as usize..view.header().records().start;
        for ifindex in words[hash].iter().copied().chain([0, 1, u32::MAX]) {
            found += u32::from(view.interface(ifindex).is_some());
        }
    }
    assert!(tally.0.iter().all(|count| *count > 10_000), "{tally:?}");
    assert!(found > 0, "no interface was ever found");
}

#[test]
fn words_that_are_no_image_are_refused() {
    // Some words more than it needs.
    let mut good = vec![0; 200];
    with_header(&mut good, 2, 3);
    ImageView::new(&good).expect("an image");
    let length = good.len();
    let check = |change: &dyn Fn(&mut Vec<u32>), expected: ImageError| {
        let mut words = good.clone();
        change(&mut words);
        assert_eq!(ImageView::new(&words).expect_err("no image"), expected);
    };
    let set = |field: u32, value: u32| move |words: &mut Vec<u32>| words[field as usize] = value;
    check(&|words| words.truncate(3), ImageError::NoHeader { words: 3 });
    check(&Vec::clear, ImageError::NoHeader { words: 0 });
    check(&set(header::MAGIC, MAGIC + 1), ImageError::Magic { found: MAGIC + 1 });
    let too_long = ImageError::Length { header: length as u32, words: length - 1 };
    check(&|words| words.truncate(length - 1), too_long);
    let slots = header::SLOTS;
    check(&set(slots, 6), ImageError::Records);
    check(&set(slots, u32::MAX), ImageError::Records);
    check(&set(header::RECORDS, 36), ImageError::Records);
    check(&set(header::RECORDS, 0), ImageError::Records);
    check(&set(header::RECORDS, !31), ImageError::Records);
    check(&set(header::HASH_MASK, 15), ImageError::Records);
    check(&set(header::HASH_MASK, u32::MAX), ImageError::Records);
}

/// Where the hash of [`image`] has an interface.
fn place(ifindex: u32) -> usize {
    header::LEN as usize + hash_ifindex(ifindex, 3) as usize * 2
}

/// One interface whose rows are `row` in both families and directions.
fn image(row: Ref, map: Ref, more: &[u32]) -> Vec<u32> {
    let mut words = Vec::new();
    with_header(&mut words, 1, 3);
    let at = words.len() - record::LEN as usize;
    words[at + record::IFINDEX as usize] = 7;
    for field in record::FAMILIES..record::OWN {
        words[at + field as usize] = row.0;
    }
    words[at + record::OWN as usize] = map.0;
    words[header::CLASSES as usize] = map.0;
    words[place(7)] = 7;
    words.extend(more);
    words[header::WORDS as usize] = words.len() as u32;
    words
}

#[test]
fn refs_that_do_not_belong_where_they_stand_give_none() {
    let peer = IpAddr::V4(5.into());
    let unit = image(Ref::NONE, Ref::NONE, &[]).len() as u32 / 4;
    let ask = |row, map, more: &[u32]| {
        let words = image(row, map, more);
        let interface = ImageView::new(&words).expect("an image").slot(0).expect("in use");
        let allows = interface.allows(Direction::Ingress, peer, 6 << 16);
        let untracked = interface.is_untracked(Direction::Ingress, Family::V4, 6 << 16);
        [allows, untracked, interface.owns(peer)]
    };
    assert_eq!(ask(Ref::ALL, Ref::NONE, &[]), [Some(true), Some(true), Some(false)]);
    // Keys 3 and two of no use, then four values.
    let run = [3, u32::MAX, u32::MAX, 0, 1, 1, 1, 0];
    let at = |kind, order| Ref::at(kind, order, unit);
    assert_eq!(ask(Ref::NONE, at(Kind::Run, 2), &run)[2], Some(true));
    assert_eq!(ask(Ref::NONE, at(Kind::Parity, 2), &run)[2], None, "a set is no map");
    assert_eq!(ask(Ref::NONE, at(Kind::Run, 5), &run)[2], None, "it ends beyond the image");
    assert_eq!(ask(at(Kind::Parity, 2), Ref::NONE, &run)[1], Some(true));
    assert_eq!(ask(at(Kind::Run, 2), Ref::NONE, &run)[1], None, "a map is no set");
    assert_eq!(ask(at(Kind::Parity, 2), Ref::NONE, &run)[0], None, "a set is no row");
    // A table whose only parts are itself.
    let itself = at(Kind::Table, 0).0;
    let table = [0, 0, 1, 0, itself, itself, 0, 0];
    assert_eq!(ask(Ref::NONE, at(Kind::Table, 0), &table)[2], None, "it leads to itself");
}

/// The programs load two words at once, from an aligned address.
#[test]
fn two_words_are_read_from_an_even_offset() {
    let long = |offset| bounded(&[1, 2, 3, 4], |words| words.long(offset));
    assert_eq!([0, 2].map(long), [Some(2 << 32 | 1), Some(4 << 32 | 3)]);
    assert_eq!([1, 3, 4, u32::MAX].map(long), [None; 4]);
}

#[test]
fn an_interface_is_found_by_its_index_and_no_other() {
    let mut words = image(Ref::NONE, Ref::NONE, &[]);
    let at = |words: &[u32], ifindex| {
        let view = ImageView::new(words).expect("an image");
        view.interface(ifindex).map(InterfaceView::slot)
    };
    assert_eq!([7, 8].map(|ifindex| at(&words, ifindex)), [Some(0), None]);
    let record = ImageView::new(&words).expect("an image").header().records().start;
    words[record + record::IFINDEX as usize] = 8;
    assert_eq!(at(&words, 7), None, "the hash leads to the record of another interface");
    words[place(7) + 1] = 1;
    assert_eq!(at(&words, 7), None, "there is one slot");
}

#[test]
fn a_record_without_an_interface_is_none() {
    let mut words = [0; record::LEN as usize];
    assert!(InterfaceRecord::new(&words).is_none());
    words[record::IFINDEX as usize] = 3;
    words[record::TIMEOUTS as usize + Timeout::Udp as usize] = 9;
    let record = InterfaceRecord::new(&words).expect("in use");
    assert_eq!((record.ifindex(), record.timeout(Timeout::Udp)), (3, 9));
    let mut longer = words;
    longer[record::TIMEOUTS as usize + Timeout::Fragment as usize] = 1;
    let longer = InterfaceRecord::new(&longer).expect("in use");
    assert_eq!([longer, record].map(|one| one.has_longer_timeouts(record)), [true, false]);
    assert!(!record.has_longer_timeouts(longer));
}
