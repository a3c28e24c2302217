//! Points in time as SigV4 writes them: whole seconds, UTC.

use std::fmt;

const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970-01-01T00:00:00Z. Shown in ISO 8601's basic form, `20150830T123600Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads `20150830T123600Z`.
    pub fn from_basic(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| digits(&bytes[from..to]);
        let date = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        Self::new(date, (number(9, 11)?, number(11, 13)?, number(13, 15)?))
    }

    /// Reads the `Date` header of HTTP (RFC 9110, section 5.6.7): `Sun, 30 Aug 2015 12:36:00 GMT`.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let (_, text) = text.split_once(", ")?;
        let mut words = text.split(' ');
        let day = digits(words.next()?.as_bytes())?;
        let month = words.next()?;
        let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
        let year = digits(words.next()?.as_bytes())?;
        let mut clock = words.next()?.split(':').map(|part| digits(part.as_bytes()));
        let time = (clock.next()??, clock.next()??, clock.next()??);
        let ends = clock.next().is_none() && words.next() == Some("GMT") && words.next().is_none();
        if ends { Self::new((year, month, day), time) } else { None }
    }

    fn new(
        (year, month, day): (i64, i64, i64),
        (hour, minute, second): (i64, i64, i64),
    ) -> Option<Self> {
        let is_date = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day);
        // 60 is a leap second.
        if !is_date || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_before_year(year)
            + (1..month).map(|month| month_days(year, month)).sum::<i64>()
            + day
            - 1;
        Some(Self(days * DAY_SECONDS + hour * 3600 + minute * 60 + second))
    }

    /// `20150830`.
    pub fn date(self) -> String {
        let (year, month, day) = self.civil();
        format!("{year:04}{month:02}{day:02}")
    }

    /// `2015-08-30T12:36:00.000Z`, as EC2 answers times.
    pub fn extended(self) -> String {
        let (year, month, day) = self.civil();
        let second = self.0.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
    }

    fn civil(self) -> (i64, i64, i64) {
        let mut days = self.0.div_euclid(DAY_SECONDS);
        let mut year = 1970 + days.div_euclid(366);
        while days_before_year(year + 1) <= days {
            year += 1;
        }
        days -= days_before_year(year);
        let mut month = 1;
        while days >= month_days(year, month) {
            days -= month_days(year, month);
            month += 1;
        }
        (year, month, days + 1)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{}T{hour:02}{minute:02}{second:02}Z", self.date())
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 4 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(bytes.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of a year.
fn days_before_year(year: i64) -> i64 {
    let leap_days = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_in_each_form() {
        // `date -u -d @N +%Y%m%dT%H%M%SZ` gave the left column.
        for (text, seconds) in [
            ("19700101T000000Z", 0),
            ("20150830T123600Z", 1_440_938_160),
            ("20000229T235959Z", 951_868_799),
            ("21000301T000000Z", 4_107_542_400),
        ] {
            assert_eq!(Timestamp::from_basic(text), Some(Timestamp(seconds)), "{text}");
            assert_eq!(Timestamp(seconds).to_string(), text);
        }
        let date = Timestamp::from_http_date("Sun, 30 Aug 2015 12:36:00 GMT");
        assert_eq!(date, Some(Timestamp(1_440_938_160)));
        assert_eq!(Timestamp(1_440_938_160).extended(), "2015-08-30T12:36:00.000Z");
    }

    #[test]
    fn other_texts_are_no_time() {
        for text in [
            "",
            "20150830",
            "20150830T123600",
            "2015-08-30T12:36:00Z",
            "20150230T000000Z",
            "20151330T000000Z",
            "20150830T243600Z",
            "20150830T126000Z",
            "+0150830T123600Z",
            "19690830T123600Z",
            "20150830t123600z",
            "2015083éT12360Z",
            "20210229T000000Z",
        ] {
            assert_eq!(Timestamp::from_basic(text), None, "{text}");
        }
        for text in [
            "",
            "Sun, 30 Aug 2015 12:36:00",
            "Sun, 30 Aug 2015 12:36:00 CET",
            "Sun, 30 Foo 2015 12:36:00 GMT",
            "Sun, 30 Aug 2015 12:36 GMT",
            "Sun, 30 Aug 2015 12:36:00:00 GMT",
            "Sun, 30 Aug 2015 12:36:00 GMT x",
        ] {
            assert_eq!(Timestamp::from_http_date(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_second_is_read_back(seconds in 0..253_402_300_799i64) {
            prop_assert_eq!(Timestamp::from_basic(&Timestamp(seconds).to_string()), Some(Timestamp(seconds)));
        }
    }
}
