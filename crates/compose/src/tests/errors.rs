//! Bad input: each problem with its file, line and column, and with what to do.

use super::*;

/// `errors` of the lines, which must be this one.
fn assert_one(lines: &str, want: &str) {
    assert_eq!(errors(lines), want, "{lines}");
}

#[test]
fn values_of_the_wrong_kind_are_refused_where_they_stand() {
    for (lines, want) in [
        ("init: maybe", "4:11: services.web.init: must be true or false, not \"maybe\""),
        ("command: {a: b}", "4:14: services.web.command: must be a list, not a map"),
        ("user: [a]", "4:11: services.web.user: must be a string, not a list"),
        ("environment: x", "4:18: services.web.environment: must be a map, not a single value"),
        (
            "deploy: {replicas: two}",
            "4:24: services.web.deploy.replicas: must be a number in range, not \"two\"",
        ),
        (
            "deploy: {replicas: -1}",
            "4:24: services.web.deploy.replicas: must be a number in range, not \"-1\"",
        ),
        (
            "healthcheck: {interval: 5}",
            "4:29: services.web.healthcheck.interval: invalid duration \"5\": want a number with \
             a unit (ns, us, ms, s, m, h), such as 1m30s",
        ),
        (
            "deploy: {mode: replicated-job}",
            "4:20: services.web.deploy.mode: jobs are not built yet: want replicated or global",
        ),
        (
            "deploy: {mode: all}",
            "4:20: services.web.deploy.mode: must be one of replicated, global, not \"all\"",
        ),
        (
            "deploy: {endpoint_mode: x}",
            "4:29: services.web.deploy.endpoint_mode: must be one of vip, dnsrr, not \"x\"",
        ),
        (
            "deploy: {resources: {limits: {cpus: many}}}",
            "4:41: services.web.deploy.resources.limits.cpus: invalid number of cpus \"many\": \
             want a number such as 0.5, with at most 9 decimals",
        ),
        (
            "deploy: {placement: {constraints: [node.role]}}",
            "4:40: services.web.deploy.placement.constraints: invalid constraint \"node.role\": \
             constraint expected one operator from ==, !=",
        ),
    ] {
        assert_one(lines, &format!("<stdin>:{want}"));
    }
}

#[test]
fn values_that_mean_nothing_are_refused_where_they_stand() {
    for (lines, want) in [
        (
            "restart: sometimes",
            "4:14: services.web.restart: must be one of no, always, unless-stopped, \
             on-failure[:attempts], not \"sometimes\"",
        ),
        (
            "platform: linux",
            "4:15: services.web.platform: invalid platform \"linux\": want os/arch, such as \
             linux/amd64",
        ),
        (
            "entrypoint: []",
            "4:17: services.web.entrypoint: what the image says cannot be cleared: remove the key",
        ),
        ("command: \"a 'b\"", "4:14: services.web.command: \"a 'b\": a quote is not closed"),
        (
            "hostname: \"{{.Nope}}\"",
            "4:15: services.web.hostname: unknown placeholder {{.Nope}}: want .Service.ID, \
             .Service.Name, .Service.Labels, .Node.ID, .Node.Hostname, .Node.Platform.OS, \
             .Node.Platform.Architecture, .Task.ID, .Task.Name or .Task.Slot",
        ),
        ("dns: here", "4:10: services.web.dns: invalid address \"here\""),
        (
            "extra_hosts: [\"h:host-gateway\"]",
            "4:19: services.web.extra_hosts: invalid host \"h:host-gateway\": host-gateway is not \
             supported: want an address",
        ),
        (
            "ulimits: {nofile: {soft: 1}}",
            "4:23: services.web.ulimits.nofile: soft and hard are required",
        ),
    ] {
        assert_one(lines, &format!("<stdin>:{want}"));
    }
}

#[test]
fn ports_say_what_they_lack() {
    for (lines, want) in [
        (
            "ports: [\"localhost:80:80\"]",
            "4:13: services.web.ports: invalid host address \"localhost\": want an IP address, \
             such as 127.0.0.1",
        ),
        (
            "ports: [{target: 80, host_ip: here}]",
            "4:13: services.web.ports: invalid host address \"here\": want an IP address, \
             such as 127.0.0.1",
        ),
        ("ports: [{published: 80}]", "4:13: services.web.ports: target is required"),
        (
            "ports: [\"80/xyz\"]",
            "4:13: services.web.ports: invalid protocol \"xyz\": must be tcp, udp or sctp",
        ),
        (
            "ports: [\"80-82:90-91\"]",
            "4:13: services.web.ports: invalid port ranges \"80-82:90-91\": both must be of one \
             length, or the target one port",
        ),
        (
            "ports: [80]\ndeploy: {endpoint_mode: dnsrr}",
            "5:13: services.web.deploy: a port published with ingress mode can't be used with \
             dnsrr mode: publish it with mode: host",
        ),
    ] {
        assert_one(lines, &format!("<stdin>:{want}"));
    }
}

#[test]
fn mounts_say_what_is_wrong() {
    for (lines, want) in [
        (
            "volumes: [\"nope:/n\"]",
            "undefined volume \"nope\": declare it under volumes at the top",
        ),
        ("volumes: [\"data:/d:z\"]", "\"data:/d:z\": unknown option \"z\""),
        ("volumes: [\":/d\"]", "invalid spec: :/d: empty section between colons"),
        ("volumes: [\"data:d\"]", "the target \"d\" must be an absolute path"),
        (
            "volumes: [\"v:/data\"]",
            "the target \"v:/data\" must be an absolute path; a one-letter name reads as a \
             Windows drive: use the long form",
        ),
        (
            "volumes: [{type: volume, source: data, target: /d, bind: {propagation: slave}}]",
            "cannot mix 'bind-*' options with mount type 'volume'",
        ),
        ("volumes: ['/s:/d:shared']", "bind-propagation=shared is not supported"),
        ("volumes: [{type: image, source: i, target: /d}]", "mount type 'image' is not supported"),
        ("volumes: [{source: data, target: /d}]", "type is required: volume, bind or tmpfs"),
        ("volumes: [{type: bind, target: /d}]", "source is required for a bind mount"),
        ("volumes: [{type: tmpfs, source: x, target: /d}]", "a tmpfs mount has no source"),
        (
            "volumes: [{type: bind, source: /s, target: /d, bind: {create_host_path: true}}]",
            "not supported: a node never makes the source of a bind mount",
        ),
        (
            "tmpfs: \"/run:noexec\"",
            "\"/run:noexec\": \"noexec\" is not supported: want size, mode or ro",
        ),
        ("tmpfs: /d\nvolumes: [\"data:/d\"]", "duplicate mount target /d"),
    ] {
        let shown = errors(lines);
        assert!(shown.ends_with(want) && shown.lines().count() == 1, "{lines}\n{shown}");
    }
}

#[test]
fn what_is_not_declared_is_named() {
    for (lines, want) in [
        (
            "networks: [nope]",
            "4:16: services.web.networks.nope: undefined network \"nope\": declare it under \
             networks at the top",
        ),
        ("secrets: [nope]", "4:15: services.web.secrets.source: undefined secret \"nope\""),
        (
            "configs: [{source: nope}]",
            "4:24: services.web.configs.source: undefined config \"nope\"",
        ),
        (
            "secrets: [key, {source: key}]",
            "4:20: services.web.secrets: two of them have the target \"key\"",
        ),
        (
            "secrets: [{source: key, mode: \"9\"}]",
            "4:35: services.web.secrets.mode: invalid mode \"9\": want octal digits such as 0440",
        ),
    ] {
        assert_one(lines, &format!("<stdin>:{want}"));
    }
}

#[test]
fn a_service_needs_an_image_that_can_be_one() {
    let shown = load_text("services:\n  web: {init: true}\n").unwrap_err().to_string();
    assert_eq!(shown, "<stdin>:2:3: services.web: no image specified: name one with image");
    let shown = load_text("services:\n  web: {image: UPPER}\n").unwrap_err().to_string();
    assert_eq!(
        shown,
        "<stdin>:2:16: services.web.image: invalid image reference \"UPPER\": repository name \
         must be lowercase"
    );
}

#[test]
fn names_must_fit_the_cluster() {
    let long = "w".repeat(60);
    let shown = load_text(&format!("services: {{{long}: {{image: i}}}}")).unwrap_err().to_string();
    assert!(shown.ends_with("must be 63 characters or fewer"), "{shown}");
    let shown = load(&[], &BTreeMap::new(), "a b").unwrap_err().to_string();
    assert!(shown.starts_with("invalid stack name: "), "{shown}");
    assert_eq!(
        load_text("x-a: 1\n").unwrap_err().to_string(),
        "there are no services in the compose file"
    );
}

#[test]
fn variables_are_refused_and_warned_of_where_they_stand() {
    assert_one(
        "user: ${NOPE:?set NOPE}",
        "<stdin>:4:11: services.web.user: required variable NOPE is missing a value: set NOPE",
    );
    assert_one(
        "user: ${ x}",
        "<stdin>:4:11: services.web.user: invalid interpolation format: \"${ x}\"; you may need to \
         escape any $ with another $",
    );
    let stack = load_text(&with_lines("user: $NOPE\nhostname: $TAG-b")).unwrap();
    assert_eq!(
        stack.warnings,
        [
            "<stdin>:4:11: services.web.user: the variable NOPE is not set: it is left empty",
            "<stdin>:5:15: services.web.hostname: \"$TAG-b\" is read as \"${TAG-b}\": use braces",
        ]
    );
}

#[test]
fn every_problem_is_shown_at_once() {
    let shown = errors("init: maybe\nfoo: bar\nprivileged: true\nnetworks: [nope]");
    assert_eq!(shown.lines().count(), 4, "{shown}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = Folder::new(&[
        ("c.yaml", "services: {web: {image: i, env_file: no.env}}\nsecrets: {k: {file: no.txt}}\n"),
        ("d.yaml", "services: {web: {image: i, env_file: bad.env}}\n"),
        ("bad.env", "A=1\nB C=s3cret\n"),
    ]);
    assert_eq!(
        folder.errors(&["c.yaml"]),
        "c.yaml:1:38: services.web.env_file.path: cannot read no.env: No such file or directory \
         (os error 2)\n\
         c.yaml:2:21: secrets.k.file: cannot read no.txt: No such file or directory (os error 2)"
    );
    assert_eq!(
        folder.errors(&["d.yaml"]),
        "d.yaml:1:38: services.web.env_file.path: bad.env: line 2: want KEY=value, with a key of \
         letters, digits, _, - and ."
    );
    assert!(folder.errors(&["e.yaml", "f.yaml"]).starts_with("cannot read e.yaml: No such file"));
}

#[test]
fn a_secret_is_never_shown() {
    let folder = Folder::new(&[
        ("c.yaml", "services: {web: {image: i, secrets: [k]}}\nsecrets: {k: {file: k.txt}}\n"),
        ("k.txt", "s3cret"),
    ]);
    let stack = folder.load(&["c.yaml"]).unwrap();
    assert_eq!(stack.secrets[0].spec.data, b"s3cret");
    let bytes = format!("{:?}", b"s3cret".to_vec());
    let shown = format!("{stack:?}");
    assert!(!shown.contains("s3cret") && !shown.contains(&bytes), "{shown}");
}

#[test]
fn secrets_have_a_size() {
    let folder =
        Folder::new(&[("c.yaml", "services: {web: {image: i}}\nsecrets: {k: {file: k}}\n")]);
    fs::write(folder.path("k"), "").unwrap();
    assert!(folder.errors(&["c.yaml"]).contains("must be larger than 0 and less than 512000"));
    fs::write(folder.path("k"), vec![b'x'; 512_001]).unwrap();
    assert!(folder.errors(&["c.yaml"]).contains("it is larger than 512000 bytes"));
}

#[test]
fn an_external_object_has_no_settings_of_its_own() {
    let shown = load_text(
        "services: {web: {image: i}}\nvolumes:\n  vol: {external: true, driver: local}\n\
         secrets: {s: {file: f, environment: e}}\n",
    );
    assert_eq!(
        shown.unwrap_err().to_string(),
        "<stdin>:3:3: volumes.vol: conflicting parameters \"external\" and \"driver\" specified\n\
         <stdin>:4:11: secrets.s: want exactly one of file, environment, external"
    );
}
