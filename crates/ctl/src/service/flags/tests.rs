//! Command lines and the specs that they become.

use clap::Parser;
use serde_json::{Value, json};
use swarm_api::ServiceSpec;

use crate::service::create::CreateFlags;
use crate::service::update::UpdateFlags;
use crate::shape;

#[derive(Parser)]
struct Create {
    #[command(flatten)]
    flags: CreateFlags,
}

#[derive(Parser)]
struct Update {
    #[command(flatten)]
    flags: UpdateFlags,
}

fn parse(line: &str) -> Result<ServiceSpec, String> {
    let words = ["create".to_owned()].into_iter().chain(shlex::split(line).unwrap());
    let parsed = Create::try_parse_from(words).map_err(|e| e.to_string())?;
    parsed.flags.spec().map_err(|e| format!("{e:#}"))
}

/// The spec of a command line, as JSON.
fn create(line: &str) -> Value {
    shape::spec::service(&parse(line).unwrap())
}

/// The spec of `first` after an update with `line`.
fn update(first: &str, line: &str) -> Value {
    shape::spec::service(&updated(first, line).unwrap())
}

fn updated(first: &str, line: &str) -> Result<ServiceSpec, String> {
    let words = ["update".to_owned()].into_iter().chain(shlex::split(line).unwrap());
    let flags = Update::try_parse_from(words).map_err(|e| e.to_string())?.flags;
    let mut spec = parse(first)?;
    flags.apply(&mut spec).map_err(|e| format!("{e:#}"))?;
    Ok(spec)
}

/// Every given pointer has the expected value.
fn expect(spec: &Value, expected: &[(&str, Value)]) {
    for (pointer, value) in expected {
        let short =
            pointer.replace("/C/", "/TaskTemplate/ContainerSpec/").replace("/T/", "/TaskTemplate/");
        let found = spec.pointer(&short).cloned().unwrap_or(Value::Null);
        assert_eq!(&found, value, "{pointer} in {spec:#}");
    }
}

#[test]
fn flags_about_the_process_reach_the_container() {
    let spec = create(
        "--name web -e A=1 --env B=x=y -w /srv -u 1000:1000 --hostname h \
         --entrypoint 'sh -c \"a b\"' --init --read-only --stop-signal SIGINT \
         --stop-grace-period 1m30s --cap-add net_admin --cap-drop CAP_CHOWN --oom-score-adj -500 \
         --group 7 --container-label k=v -l s=t nginx:1 -g --name x",
    );
    expect(
        &spec,
        &[
            ("/Name", json!("web")),
            ("/Labels", json!({"s": "t"})),
            ("/C/Image", json!("nginx:1")),
            ("/C/Args", json!(["-g", "--name", "x"])),
            ("/C/Command", json!(["sh", "-c", "a b"])),
            ("/C/Env", json!(["A=1", "B=x=y"])),
            ("/C/Dir", json!("/srv")),
            ("/C/User", json!("1000:1000")),
            ("/C/Hostname", json!("h")),
            ("/C/Init", json!(true)),
            ("/C/ReadOnly", json!(true)),
            ("/C/StopSignal", json!("SIGINT")),
            ("/C/StopGracePeriod", json!(90_000_000_000u64)),
            ("/C/CapabilityAdd", json!(["CAP_NET_ADMIN"])),
            ("/C/CapabilityDrop", json!(["CAP_CHOWN"])),
            ("/C/OomScoreAdj", json!(-500)),
            ("/C/Groups", json!(["7"])),
            ("/C/Labels", json!({"k": "v"})),
        ],
    );
}

#[test]
fn flags_about_surroundings_reach_the_container() {
    let spec = create(
        "--mount type=bind,source=/a,target=/b,readonly --mount source=data,target=/data \
         --secret pw --secret source=s,target=t,uid=1,gid=2,mode=0440 --config conf \
         --dns 1.1.1.1 --dns-option ndots:1 --dns-search x.y --host db:10.0.0.1 --host v6:::1 \
         --sysctl net.core.somaxconn=1 --ulimit nofile=10:20 --health-cmd 'true' \
         --health-interval 5s --health-retries 2 nginx",
    );
    expect(
        &spec,
        &[
            (
                "/C/Mounts/0",
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true}),
            ),
            ("/C/Mounts/1/Type", json!("volume")),
            ("/C/Secrets/0/SecretName", json!("pw")),
            ("/C/Secrets/0/SecretID", json!("")),
            ("/C/Secrets/0/File", json!({"Name": "pw", "UID": "0", "GID": "0", "Mode": 0o444})),
            ("/C/Secrets/1/File", json!({"Name": "t", "UID": "1", "GID": "2", "Mode": 0o440})),
            ("/C/Configs/0/File/Name", json!("/conf")),
            (
                "/C/DNSConfig",
                json!({"Nameservers": ["1.1.1.1"], "Options": ["ndots:1"], "Search": ["x.y"]}),
            ),
            ("/C/Hosts", json!(["10.0.0.1 db", "::1 v6"])),
            ("/C/Sysctls", json!({"net.core.somaxconn": "1"})),
            ("/C/Ulimits/0", json!({"Name": "nofile", "Soft": 10, "Hard": 20})),
            ("/C/Healthcheck/Test", json!(["CMD-SHELL", "true"])),
            ("/C/Healthcheck/Interval", json!(5_000_000_000u64)),
            ("/C/Healthcheck/Retries", json!(2)),
        ],
    );
}

#[test]
fn flags_about_tasks_reach_the_task_and_the_service() {
    let spec = create(
        "--replicas 3 --replicas-max-per-node 2 --limit-cpu 0.5 --limit-memory 64m --limit-pids 9 \
         --reserve-cpu 1 --reserve-memory 32m --generic-resource gpu=2 \
         --restart-condition on-failure --restart-delay 1s --restart-max-attempts 4 \
         --restart-window 2m --update-parallelism 0 --update-delay 3s --update-order start-first \
         --update-failure-action rollback --update-max-failure-ratio 0.5 --update-monitor 9s \
         --rollback-order start-first --constraint node.role==worker \
         --placement-pref spread=node.labels.z --network net \
         --network name=back,alias=a,alias=b -p 8080:80 \
         -p published=53,target=53,protocol=udp,mode=host \
         --endpoint-mode vip --log-driver json-file --log-opt max-size=1m nginx",
    );
    let second = 1_000_000_000u64;
    expect(
        &spec,
        &[
            ("/Mode", json!({"Replicated": {"Replicas": 3}})),
            ("/T/Placement/MaxReplicas", json!(2)),
            ("/T/Placement/Constraints", json!(["node.role==worker"])),
            ("/T/Placement/Preferences/0/Spread/SpreadDescriptor", json!("node.labels.z")),
            (
                "/T/Resources/Limits",
                json!({"NanoCPUs": 500_000_000, "MemoryBytes": 64 << 20, "Pids": 9}),
            ),
            ("/T/Resources/Reservations/MemoryBytes", json!(32 << 20)),
            (
                "/T/Resources/Reservations/GenericResources/0/DiscreteResourceSpec",
                json!({"Kind": "gpu", "Value": 2}),
            ),
            ("/T/RestartPolicy/Condition", json!("on-failure")),
            ("/T/RestartPolicy/Delay", json!(second)),
            ("/T/RestartPolicy/MaxAttempts", json!(4)),
            ("/T/RestartPolicy/Window", json!(120 * second)),
            ("/T/Networks/1", json!({"Target": "back", "Aliases": ["a", "b"]})),
            ("/T/LogDriver", json!({"Name": "json-file", "Options": {"max-size": "1m"}})),
            ("/UpdateConfig/Parallelism", json!(0)),
            ("/UpdateConfig/FailureAction", json!("rollback")),
            ("/UpdateConfig/MaxFailureRatio", json!(0.5)),
            ("/UpdateConfig/Monitor", json!(9 * second)),
            // Given no parallelism, a rollback goes one by one, not all at once.
            ("/RollbackConfig/Parallelism", json!(1)),
            ("/EndpointSpec/Ports/0/PublishedPort", json!(8080)),
            ("/EndpointSpec/Ports/1/PublishMode", json!("host")),
        ],
    );
}

#[test]
fn what_is_not_given_stays_open() {
    let spec = parse("--name web nginx").unwrap();
    assert_eq!((spec.update, spec.rollback, spec.endpoint), (None, None, None));
    let task = spec.task.unwrap();
    assert_eq!((task.restart, task.resources, task.placement), (None, None, None));
    let global = create("--mode global nginx");
    assert_eq!(global["Mode"], json!({"Global": {}}));
    assert!(global["Name"].as_str().unwrap().contains('_'));
}

#[test]
fn wrong_values_are_refused_with_their_names() {
    let cases = [
        ("--isolation x nginx", "--isolation is not supported"),
        ("--with-registry-auth nginx", "--with-registry-auth is not supported"),
        ("--mode global-job nginx", "--mode global-job is not supported"),
        ("--mode global --replicas 2 nginx", "replicas can only be used with replicated mode"),
        ("--name a.b nginx", "valid as a DNS name component"),
        ("Nginx", "must be lowercase"),
        ("--frob nginx", "unknown flag: --frob"),
        ("--constraint a=b nginx", "expected one operator from ==, !="),
        ("--placement-pref pack=a nginx", "only spread is supported"),
        ("-p here:80:80 nginx", "invalid host address \"here\""),
        ("--lb-policy least-conn nginx", "does not count them by backend"),
        ("--network ip=1.2.3.4,name=x nginx", "--network ip= is not supported"),
        ("--secret source=s,target=x --secret source=t,target=x nginx", "duplicate secret target"),
        ("--mount target=/a,source=x --mount target=/a,source=y nginx", "duplicate mount target"),
        ("--no-healthcheck --health-cmd x nginx", "--no-healthcheck conflicts"),
        ("--health-interval 1us nginx", "--health-interval cannot be less than 1ms"),
        ("--ulimit nofile=20:10 nginx", "soft limit must be less"),
        ("--host nohost nginx", "use NAME:IP"),
        ("--env =x nginx", "invalid environment variable"),
        ("--log-opt a=b nginx", "--log-opt needs --log-driver"),
        ("--entrypoint \"it's\" nginx", "unbalanced quotes"),
        ("--limit-memory lots nginx", "invalid size"),
        ("--update-max-failure-ratio 2 nginx", "want a number from 0 to 1"),
        ("--stop-grace-period 5 nginx", "invalid duration"),
        ("", "required"),
    ];
    for (line, expected) in cases {
        let error = parse(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn lists_are_added_to_and_removed_from() {
    let first = "--name web -e A=1 -e B=2 -l x=1 --mount source=a,target=/a --secret pw -p 80:80 \
                 --constraint node.role==worker --host db:1.1.1.1 --dns 1.1.1.1 --ulimit nofile=1 \
                 --sysctl a=1 --group g nginx";
    let spec = update(
        first,
        "--env-add B=3 --env-add C=4 --env-rm A --label-add y=2 --label-rm x --mount-rm /a \
         --mount-add source=b,target=/b --secret-rm pw --secret-add other --publish-rm 80 \
         --publish-add 81:81 --constraint-rm node.role==worker --constraint-add node.role==manager \
         --host-rm db --host-add db:2.2.2.2 --dns-rm 1.1.1.1 --ulimit-add nofile=2 --sysctl-rm a \
         --group-rm g --container-label-add k=v web",
    );
    expect(
        &spec,
        &[
            ("/C/Env", json!(["B=3", "C=4"])),
            ("/Labels", json!({"y": "2"})),
            ("/C/Mounts/0/Target", json!("/b")),
            ("/C/Mounts/1", Value::Null),
            ("/C/Secrets/0/SecretName", json!("other")),
            ("/C/Secrets/1", Value::Null),
            ("/EndpointSpec/Ports/0/TargetPort", json!(81)),
            ("/EndpointSpec/Ports/1", Value::Null),
            ("/T/Placement/Constraints", json!(["node.role==manager"])),
            ("/C/Hosts", json!(["2.2.2.2 db"])),
            ("/C/DNSConfig", Value::Null),
            ("/C/Ulimits/0/Soft", json!(2)),
            ("/C/Sysctls", Value::Null),
            ("/C/Groups", Value::Null),
            ("/C/Labels", json!({"k": "v"})),
        ],
    );
}

#[test]
fn an_update_changes_only_what_it_is_given() {
    let first = "--name web --replicas 2 --limit-memory 64m --update-parallelism 2 nginx:1 -x";
    let spec = update(first, "--image nginx:2 --limit-cpu 1 --update-delay 1s --force web");
    expect(
        &spec,
        &[
            ("/C/Image", json!("nginx:2")),
            ("/C/Args", json!(["-x"])),
            ("/T/ForceUpdate", json!(1)),
            ("/T/Resources/Limits", json!({"NanoCPUs": 1_000_000_000, "MemoryBytes": 64 << 20})),
            ("/UpdateConfig/Parallelism", json!(2)),
            ("/UpdateConfig/Delay", json!(1_000_000_000)),
            ("/Mode", json!({"Replicated": {"Replicas": 2}})),
        ],
    );
    expect(
        &update(first, "--args 'a \"b c\"' --replicas 5 web"),
        &[("/C/Args", json!(["a", "b c"])), ("/Mode/Replicated/Replicas", json!(5))],
    );
}

#[test]
fn dropping_an_added_capability_only_takes_it_back() {
    let first = "--cap-add NET_ADMIN --cap-drop CHOWN nginx";
    let spec = update(first, "--cap-drop NET_ADMIN --cap-add CHOWN web");
    expect(&spec, &[("/C/CapabilityAdd", Value::Null), ("/C/CapabilityDrop", Value::Null)]);
    let spec = update(first, "--cap-add RESET --cap-add SYS_TIME --cap-drop RESET web");
    expect(
        &spec,
        &[("/C/CapabilityAdd", json!(["CAP_SYS_TIME"])), ("/C/CapabilityDrop", Value::Null)],
    );
}

#[test]
fn a_health_check_can_be_switched_off_and_on_again() {
    let off = update("--health-cmd x nginx", "--no-healthcheck web");
    expect(&off, &[("/C/Healthcheck", json!({"Test": ["NONE"]}))]);
    let on = update("--no-healthcheck nginx", "--health-interval 1s web");
    expect(&on, &[("/C/Healthcheck", json!({"Interval": 1_000_000_000}))]);
}

#[test]
fn a_rollback_stands_alone() {
    let flags = |line: &str| Update::try_parse_from(line.split(' ')).unwrap().flags;
    assert!(flags("update --rollback -d -q web").is_only_rollback());
    assert!(!flags("update --rollback --replicas 2 web").is_only_rollback());
    assert!(!flags("update --rollback --env-add A=1 web").is_only_rollback());
}
