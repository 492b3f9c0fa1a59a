//! What `stack config` shows.

use expect_test::expect;

use super::*;

const BASE: &str = "\
x-common: &common
  restart: always
  environment: [MODE=prod, \"TAG=${TAG:-none}\"]
services:
  web:
    <<: *common
    image: shop/web:$TAG
    command: serve --port '8080'
    ports: [\"8080-8081:80/tcp\", 9000]
    volumes: [\"data:/data:ro\", \"./conf:/conf\"]
    secrets: [key]
    deploy: {replicas: 2, labels: {a: \"1\"}}
volumes: {data: }
secrets: {key: {external: {name: real}}}
";

const OVER: &str = "\
services:
  web:
    deploy: {replicas: 3}
    volumes: [\"other:/data\"]
volumes: {other: {}}
";

fn shown(interpolate: bool) -> String {
    let env = [("TAG".to_owned(), "v9".to_owned())].into();
    let sources = [BASE, OVER].map(|text| Source::Stdin(text.to_owned()));
    render(&sources, &env, interpolate).unwrap()
}

#[test]
fn files_are_shown_merged_and_in_long_forms() {
    expect![[r#"
        secrets:
          key:
            external: true
            name: real
        services:
          web:
            command:
              - serve
              - "--port"
              - "8080"
            deploy:
              labels:
                a: "1"
              replicas: 3
            environment:
              MODE: prod
              TAG: v9
            image: shop/web:v9
            ports:
              - mode: ingress
                protocol: tcp
                published: 8080
                target: 80
              - mode: ingress
                protocol: tcp
                published: 8081
                target: 80
              - mode: ingress
                protocol: tcp
                target: 9000
            restart: always
            secrets:
              - source: key
            volumes:
              - source: other
                target: /data
                type: volume
              - source: "./conf"
                target: /conf
                type: bind
        volumes:
          data:
          other: {}
        x-common:
          environment:
            - MODE=prod
            - TAG=${TAG:-none}
          restart: always
    "#]]
    .assert_eq(&shown(true));
}

#[test]
fn without_interpolation_variables_stay() {
    let text = shown(false);
    assert!(text.contains("image: shop/web:$TAG\n"), "{text}");
    assert!(text.contains("TAG: ${TAG:-none}\n"), "{text}");
}

#[test]
fn without_interpolation_a_short_form_with_a_variable_stays() {
    let text = "services: {web: {image: i, ports: ['$P:80', '1:1'], command: 'a $B'}}";
    let shown = render(&[Source::Stdin(text.into())], &BTreeMap::new(), false).unwrap();
    assert!(shown.contains("      - $P:80\n      - mode: ingress\n"), "{shown}");
    assert!(shown.contains("command: a $B\n"), "{shown}");
}

#[test]
fn a_dollar_sign_that_is_left_is_doubled() {
    let text = "services: {web: {image: i, command: 'a $$B', volumes: ['./$$v:/v']}}";
    let shown = render(&[Source::Stdin(text.into())], &BTreeMap::new(), true).unwrap();
    assert!(shown.contains("- $$B\n") && shown.contains("source: \"./$$v\"\n"), "{shown}");
}

#[test]
fn what_is_shown_is_shown_again_alike() {
    let once = shown(true);
    let again = render(&[Source::Stdin(once.clone())], &BTreeMap::new(), true).unwrap();
    assert_eq!(once, again);
}

#[test]
fn an_unknown_key_is_not_shown_but_refused() {
    let source = Source::Stdin("services: {web: {image: i, foo: 1}}".into());
    assert!(render(&[source], &BTreeMap::new(), true).is_err());
}
