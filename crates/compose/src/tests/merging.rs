//! Several files, and the environment around them.

use super::*;

/// Merges two texts and shows the service `web`.
fn merged(base: &str, over: &str) -> Node {
    let place = Place { base: "/".into(), env: BTreeMap::new() };
    let sources = [base, over].map(|text| {
        Source::Stdin(format!(
            "services:\n  web:\n    image: i\n    {}\n",
            text.replace('\n', "\n    ")
        ))
    });
    let mut report = Report::default();
    let root = read(&sources, &place, true, &mut report).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    root.get("services").unwrap().get("web").unwrap().clone()
}

#[test]
fn each_kind_of_key_merges_by_its_rule() {
    for (base, over, want) in [
        ("user: a", "user: b", "user: b"),
        ("user: a", "user:", "user: a"),
        ("environment: {A: 1, B: 2}", "environment: [B=3, C]", "environment: {A: 1, B: '3', C: }"),
        ("environment: {A: 1}", "environment: {A: }", "environment: {A: }"),
        ("dns: 1.1.1.1", "dns: [2.2.2.2]", "dns: ['1.1.1.1', 2.2.2.2]"),
        ("command: a b", "command: [c]", "command: [c]"),
        (
            "healthcheck: {test: a, retries: 2}",
            "healthcheck: {test: b}",
            "healthcheck: {test: [CMD-SHELL, b], retries: 2}",
        ),
        ("logging: {driver: a, options: {x: y}}", "logging: {driver: b}", "logging: {driver: b}"),
        (
            "logging: {driver: a, options: {x: y}}",
            "logging: {options: {z: w}}",
            "logging: {driver: a, options: {x: y, z: w}}",
        ),
        ("ulimits: {n: {soft: 1, hard: 2}}", "ulimits: {n: 5}", "ulimits: {n: 5}"),
        (
            "networks: {a: {aliases: [x]}}",
            "networks: {a: {aliases: [y]}, b: }",
            "networks: {a: {aliases: [y]}, b: }",
        ),
        ("networks: [a]", "networks: {a: {aliases: [y]}}", "networks: {a: {aliases: [y]}}"),
        (
            "volumes: ['va:/x', 'vb:/y']",
            "volumes: ['vc:/x']",
            "volumes: [{type: volume, source: vc, target: /x}, {type: volume, source: vb, target: \
             /y}]",
        ),
        (
            "secrets: [a]",
            "secrets: [{source: a, target: t}, b]",
            "secrets: [{source: a, target: t}, {source: b}]",
        ),
        ("dns: [1.1.1.1]", "dns: !override [2.2.2.2]", "dns: [2.2.2.2]"),
        ("user: a", "user: !reset null", ""),
    ] {
        let got = merged(base, over);
        let plain = |text: &str| {
            let text = format!("image: i\n{}", text);
            render::render(&yaml::parse(&"f".into(), &text).unwrap())
        };
        assert_eq!(
            render::render(&got).replace(['"', '\''], ""),
            plain(want).replace(['"', '\''], ""),
            "{base} + {over}"
        );
    }
}

#[test]
fn a_later_port_replaces_the_one_that_is_published_alike() {
    let stack = load(
        &[
            Source::Stdin(
                "services: {web: {image: i, ports: ['80:80', '53:53/udp', '53:53', 99]}}".into(),
            ),
            Source::Stdin("services: {web: {ports: ['80:8080', '53:5353/udp', 99, 81]}}".into()),
        ],
        &BTreeMap::new(),
        "s",
    );
    let ports = spec_of(stack.unwrap()).endpoint.unwrap().ports;
    let shown: Vec<_> = ports.iter().map(|p| (p.published, p.target, p.protocol)).collect();
    assert_eq!(shown, [(53, 53, 0), (0, 81, 0), (0, 99, 0), (53, 5353, 1), (80, 8080, 0)]);
}

#[test]
fn the_environment_wins_over_the_env_file_next_to_the_first_file() {
    let folder = Folder::new(&[
        ("c.yaml", "services: {web: {image: '$A-$B$C', environment: [A, D]}}\n"),
        (".env", "A=file\nB=\"${A}x\"\nC=c\n"),
    ]);
    let env = [("A".to_owned(), "own".to_owned())].into();
    let stack = load(&[Source::File(folder.path("c.yaml"))], &env, "s");
    let container = spec_of(stack.unwrap()).task.unwrap().container.unwrap();
    assert_eq!(container.image, "own");
    assert_eq!(container.env, ["A=own", "D"]);
}

#[test]
fn a_wrong_env_file_is_named_with_its_line() {
    let folder =
        Folder::new(&[("c.yaml", "services: {web: {image: i}}\n"), (".env", "A=1\nB='x\n")]);
    assert_eq!(folder.errors(&["c.yaml"]), ".env:2:1: a ' is not closed");
}

#[test]
fn env_files_give_way_to_the_environment_section() {
    let folder = Folder::new(&[
        (
            "c.yaml",
            "services: {web: {image: i, env_file: [a.env, b.env], environment: {C: own}}}\n",
        ),
        ("a.env", "A=1\nB=2\nC=3\n"),
        ("b.env", "B='x y'\n"),
    ]);
    let container = spec_of(folder.load(&["c.yaml"]).unwrap()).task.unwrap().container.unwrap();
    assert_eq!(container.env, ["A=1", "B=x y", "C=own"]);
}

#[test]
fn paths_are_relative_to_the_first_file() {
    let folder =
        Folder::new(&[("c.yaml", "services: {web: {image: i, volumes: ['./a/../b:/b']}}\n")]);
    let container = spec_of(folder.load(&["c.yaml"]).unwrap()).task.unwrap().container.unwrap();
    assert_eq!(container.mounts[0].source, folder.path("b").display().to_string());
}
