//! Head sampling: a pure function of an id and a rate, so that every service decides alike. Knows ids only.

use crate::id::SessionId;

/// Ids are compared by their last 56 bits, as OpenTelemetry's consistent probability sampling does.
const BITS: u32 = 56;
const SPACE: u64 = 1 << BITS;

/// What share of ids is kept: ids of this rank and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(u64);

impl Threshold {
    /// For a rate from 0 to 1.
    pub(crate) fn of(rate: f64) -> Self {
        if rate >= 1.0 {
            return Self(0);
        }
        // Not a number is no rate: nothing is thrown away for it.
        if rate.is_nan() {
            return Self(0);
        }
        // Exact: the space is a power of two, and the rate is not negative.
        Self((((1.0 - rate.max(0.0)) * SPACE as f64).round() as u64).min(SPACE))
    }

    /// Whether every id is kept.
    pub(crate) const fn keeps_all(self) -> bool {
        self.0 == 0
    }

    /// Whether a trace is kept: the answer of OpenTelemetry's consistent samplers for the same rate.
    pub(crate) const fn keeps_trace(self, trace_id: u128) -> bool {
        (trace_id as u64) % SPACE >= self.0
    }

    /// Whether a session is kept. Session ids come from anywhere and may differ in a few bits only, so they are mixed.
    pub(crate) const fn keeps_session(self, session: SessionId) -> bool {
        let id = session.uuid().as_u128();
        mix(mix((id >> 64) as u64) ^ id as u64) % SPACE >= self.0
    }
}

/// The finaliser of splitmix64. The answers for sessions rest on it: it must never change.
const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The member of `tracestate` that tells other services to sample a trace by its id: its session is one that the first
/// service made for itself, and did not sample by.
const BY_TRACE: &str = "honeyhive=t";
/// So many characters of `tracestate` are passed on.
const MAX_STATE: usize = 512;

/// Whether a `tracestate` says that the trace is sampled by its id.
pub(crate) fn is_by_trace(state: &str) -> bool {
    state.split(',').any(|member| member.trim() == BY_TRACE)
}

/// The `tracestate` that says so, if it fits.
pub(crate) fn by_trace(state: Option<&str>) -> Option<String> {
    let state = state.unwrap_or_default();
    if is_by_trace(state) {
        return Some(state.to_owned());
    }
    let told = if state.is_empty() {
        BY_TRACE.to_owned()
    } else {
        format!("{BY_TRACE},{state}")
    };
    (told.len() <= MAX_STATE).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges() {
        for id in [0, 1, u128::MAX, 1 << 55, (1 << 56) - 1] {
            assert!(Threshold::of(1.0).keeps_trace(id));
            assert!(!Threshold::of(0.0).keeps_trace(id));
            let session = SessionId::from_uuid(uuid::Uuid::from_u128(id));
            assert!(Threshold::of(1.0).keeps_session(session));
            assert!(!Threshold::of(0.0).keeps_session(session));
        }
        assert!(Threshold::of(1.0).keeps_all() && Threshold::of(f64::NAN).keeps_all());
        assert!(!Threshold::of(0.999).keeps_all());
        // The smallest rates keep the highest rank.
        assert!(Threshold::of(1e-16).keeps_trace(u128::MAX));
    }

    /// Other services, and later versions, must answer the same.
    #[test]
    fn fixed_vectors() {
        let traces = [
            (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128, 0.75, true),
            (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128, 0.25, false),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128, 0.5, true),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128, 0.1, false),
            (0x0000_0000_0000_0000_0080_0000_0000_0000_u128, 0.5, true),
            (0x0000_0000_0000_0000_007f_ffff_ffff_ffff_u128, 0.5, false),
            (0x0000_0000_0000_0000_ff7f_ffff_ffff_ffff_u128, 0.5, false),
        ];
        for (trace, rate, kept) in traces {
            assert_eq!(
                Threshold::of(rate).keeps_trace(trace),
                kept,
                "{trace:x} {rate}"
            );
        }
        let sessions = [
            ("7f3a5c10-0000-4000-8000-000000000001", SESSION_RANKS[0]),
            ("7f3a5c10-0000-4000-8000-000000000002", SESSION_RANKS[1]),
            ("00000000-0000-0000-0000-000000000001", SESSION_RANKS[2]),
            ("6a1ea9d5-6d0c-4ec9-a7a1-3f3fb8fd9d36", SESSION_RANKS[3]),
        ];
        for (id, rank) in sessions {
            let id = SessionId::parse(id).unwrap();
            assert!(Threshold(rank).keeps_session(id), "{id}");
            assert!(!Threshold(rank + 1).keeps_session(id), "{id}");
        }
    }

    const SESSION_RANKS: [u64; 4] = [
        0xc9_1cdc_6336_cd2b,
        0x3a_01f0_f8d4_9887,
        0x92_161d_100b_05e5,
        0xea_aa48_5538_93f7,
    ];

    #[test]
    fn the_share_is_the_rate() {
        for rate in [0.01, 0.1, 0.5, 0.9] {
            let threshold = Threshold::of(rate);
            let count = 20_000_u32;
            let sessions = (0..count)
                .map(|n| SessionId::from_uuid(uuid::Uuid::from_u128(u128::from(n))))
                .filter(|session| threshold.keeps_session(*session))
                .count();
            let traces = (0..count)
                .filter(|n| threshold.keeps_trace(crate::id::next_trace_id(u64::from(*n))))
                .count();
            for kept in [sessions, traces] {
                let share = kept as f64 / f64::from(count);
                assert!((share - rate).abs() < 0.02, "{share} of {rate}");
            }
        }
    }

    #[test]
    fn a_higher_rate_keeps_what_a_lower_one_keeps() {
        for n in 0..1000_u64 {
            let trace = crate::id::next_trace_id(n);
            if Threshold::of(0.2).keeps_trace(trace) {
                assert!(Threshold::of(0.3).keeps_trace(trace));
            }
        }
    }
}
