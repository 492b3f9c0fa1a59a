//! Names for services that were given none: `keen_lovelace_x4k2`.

const MOODS: [&str; 16] = [
    "brave", "bright", "calm", "clever", "eager", "fond", "gentle", "happy", "keen", "kind",
    "lively", "merry", "quick", "quiet", "stoic", "warm",
];
const PEOPLE: [&str; 16] = [
    "babbage", "bohr", "curie", "darwin", "euler", "faraday", "franklin", "gauss", "hopper",
    "kepler", "lovelace", "meitner", "newton", "noether", "pasteur", "turing",
];
/// Characters that keep two such names apart.
const TAIL: usize = 4;

/// A random name.
pub fn random() -> String {
    from_id(&swarm_api::id::random_id())
}

fn from_id(id: &str) -> String {
    // The last characters of an id are its most random ones.
    let digits: Vec<usize> = id.bytes().rev().map(usize::from).collect();
    let pick = |i: usize| digits.get(i).copied().unwrap_or(0) + 7 * digits.get(i + 1).unwrap_or(&0);
    let tail = id.get(id.len().saturating_sub(TAIL)..).unwrap_or(id);
    format!("{}_{}_{tail}", MOODS[pick(4) % MOODS.len()], PEOPLE[pick(6) % PEOPLE.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_is_a_valid_service_name() {
        let name = random();
        swarm_api::name::service(&name).unwrap();
        assert_eq!(name.split('_').count(), 3);
    }
}
