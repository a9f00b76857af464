//! How much a hit takes (contract 5.9, with what it leaves open decided here).
//!
//! Only the four basic float operations and flooring are used, in a fixed order, so every machine
//! comes to the same number.

/// Everything a hit's damage depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// Of the *target*: the existing server reckons so, and clients show its numbers.
    pub(super) target_level: u32,
    pub(super) power: u32,
    pub(super) attack: f64,
    pub(super) defence: f64,
    /// Factor of the element chart.
    pub(super) element: f64,
    /// Skill and user have the same element.
    pub(super) same_element: bool,
    pub(super) critical: bool,
    /// Percent of the full damage, 85 to 100.
    pub(super) spread_percent: u32,
}

/// The least percent of full damage that a hit does.
pub(super) const SPREAD_LEAST: u32 = 85;
/// Full damage.
pub(super) const SPREAD_MOST: u32 = 100;

/// At least 1, and not capped by the life that is left.
pub(super) fn damage(hit: &Hit) -> u32 {
    let level = 2.0 * f64::from(hit.target_level) / 5.0 + 2.0;
    let base = (level * f64::from(hit.power) * hit.attack / hit.defence / 50.0 + 2.0).floor();
    let same_element = if hit.same_element { 1.5 } else { 1.0 };
    let critical = if hit.critical { 2.0 } else { 1.0 };
    let full = (base * hit.element * same_element * critical).floor();
    let spread = (full * f64::from(hit.spread_percent) / 100.0).floor();
    // Out of range can't happen with a checked pack; the conversion would saturate.
    (spread as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Hit = Hit {
        target_level: 100,
        power: 60,
        attack: 200.0,
        defence: 200.0,
        element: 1.0,
        same_element: false,
        critical: false,
        spread_percent: 100,
    };

    #[test]
    fn damage_follows_the_contracts_formula() {
        let table = [
            // 42 * 60 / 50 + 2 = 52.4
            (PLAIN, 52),
            (Hit { same_element: true, ..PLAIN }, 78),
            (Hit { critical: true, ..PLAIN }, 104),
            (Hit { element: 2.0, same_element: true, critical: true, ..PLAIN }, 312),
            (Hit { element: 0.5, ..PLAIN }, 26),
            // 52 * 0.85 = 44.2
            (Hit { spread_percent: 85, ..PLAIN }, 44),
            // 52 * 0.5 * 1.5 = 39, * 0.86 = 33.54
            (Hit { element: 0.5, same_element: true, spread_percent: 86, ..PLAIN }, 33),
            // Stats are not floored: 42 * 60 * 1.1 / 50 + 2 = 57.44
            (Hit { attack: 100.0 * 1.1, defence: 100.0, ..PLAIN }, 57),
            // 2 * 52 / 5 is 20.8, not 20: 22.8 * 60 / 50 + 2 = 29.36
            (Hit { target_level: 52, ..PLAIN }, 29),
            (Hit { power: 0, ..PLAIN }, 2),
            (Hit { power: 0, element: 0.5, spread_percent: 85, ..PLAIN }, 1),
            (Hit { target_level: 1, power: 1, attack: 4.5, element: 0.5, ..PLAIN }, 1),
        ];
        for (hit, expected) in table {
            assert_eq!(damage(&hit), expected, "{hit:?}");
        }
    }

    #[test]
    fn the_strongest_hit_a_pack_allows_is_in_range() {
        let hit = Hit {
            power: 10_000,
            attack: 23_000.0,
            defence: 4.5,
            element: 2.0,
            same_element: true,
            critical: true,
            ..PLAIN
        };
        assert!(damage(&hit) < u32::MAX / 8);
    }
}
