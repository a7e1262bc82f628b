use super::*;
use crate::Incarnation;

const SPOKEN: VersionRange = VersionRange { min: 2, max: 4 };

fn terms(name: &str, incarnation: u64) -> Terms {
    Terms {
        protocol: SPOKEN,
        codec: CodecId(1),
        cluster: "shop".parse().unwrap(),
        node: node(name, incarnation),
        listen: Some("127.0.0.1:7401".parse().unwrap()),
    }
}

fn node(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

fn identity(cluster: &str, name: &str) -> Identity {
    Identity::new(cluster.parse().unwrap(), name.parse().unwrap())
}

fn hello_of(terms: &Terms) -> Hello {
    terms.hello(Lane::Control, LinkId(7), Held::default())
}

#[test]
fn two_nodes_of_one_cluster_agree_on_the_newest_common_version() {
    let (a, mut b) = (terms("a", 1), terms("b", 1));
    b.protocol = VersionRange { min: 3, max: 9 };
    let welcome = b.judge_hello(&hello_of(&a), &identity("shop", "a")).unwrap();
    assert_eq!(welcome.protocol, 4);
    assert_eq!(welcome.node, b.node);
    let b_by_name = "b".parse().unwrap();
    assert_eq!(a.judge_welcome(&welcome, &identity("shop", "b"), Some(&b_by_name)), Ok(()));
    assert_eq!(a.judge_welcome(&welcome, &identity("shop", "b"), None), Ok(()));
}

#[test]
fn a_node_of_another_cluster_is_refused_by_both_ends() {
    let (a, b) = (terms("a", 1), terms("b", 1));
    let mut foreign = hello_of(&a);
    foreign.cluster = "bank".parse().unwrap();
    let wrong = Refusal::WrongCluster { ours: b.cluster.clone(), yours: foreign.cluster.clone() };
    assert_eq!(b.judge_hello(&foreign, &identity("bank", "a")), Err(wrong.clone()));
    let welcome = b.judge_hello(&hello_of(&a), &identity("shop", "a")).unwrap();
    assert_eq!(a.judge_welcome(&welcome, &identity("bank", "b"), None), Err(wrong));
}

#[test]
fn a_claim_that_is_not_in_the_certificate_is_refused_by_both_ends() {
    let (a, b) = (terms("a", 1), terms("b", 1));
    for certified in [identity("shop", "mallory"), identity("bank", "a")] {
        let claimed = identity("shop", "a");
        let refusal = Refusal::NotYourCertificate { claimed, certified: certified.clone() };
        assert_eq!(b.judge_hello(&hello_of(&a), &certified), Err(refusal));
    }
    let welcome = b.judge_hello(&hello_of(&a), &identity("shop", "a")).unwrap();
    let refused = a.judge_welcome(&welcome, &identity("shop", "mallory"), None);
    assert!(matches!(refused, Err(Refusal::NotYourCertificate { .. })), "{refused:?}");
}

#[test]
fn versions_that_do_not_meet_are_refused_by_both_ends() {
    let (a, b) = (terms("a", 1), terms("b", 1));
    for (min, max) in [(0, 1), (5, 9), (4, 2), (u16::MAX, 0)] {
        let mut hello = hello_of(&a);
        hello.protocol = VersionRange { min, max };
        let refusal = Refusal::Protocol { ours: SPOKEN, yours: hello.protocol };
        assert_eq!(b.judge_hello(&hello, &identity("shop", "a")), Err(refusal), "{min} to {max}");
    }
    let mut welcome = b.judge_hello(&hello_of(&a), &identity("shop", "a")).unwrap();
    welcome.protocol = 5;
    let refused = a.judge_welcome(&welcome, &identity("shop", "b"), None);
    assert!(matches!(refused, Err(Refusal::Protocol { .. })), "{refused:?}");
}

#[test]
fn another_codec_is_refused_by_both_ends() {
    let (a, b) = (terms("a", 1), terms("b", 1));
    let refusal = Refusal::Codec { ours: CodecId(1), yours: CodecId(2) };
    let mut welcome = b.judge_hello(&hello_of(&a), &identity("shop", "a")).unwrap();
    welcome.codec = CodecId(2);
    assert_eq!(a.judge_welcome(&welcome, &identity("shop", "b"), None), Err(refusal.clone()));
    let mut hello = hello_of(&a);
    hello.codec = CodecId(2);
    assert_eq!(b.judge_hello(&hello, &identity("shop", "a")), Err(refusal));
}

#[test]
fn a_namesake_is_told_whether_it_is_the_same_the_older_or_the_newer() {
    let b = terms("b", 5);
    for (theirs, refusal) in [
        (5, Refusal::SameNode),
        (4, Refusal::Fenced { known: Incarnation(5) }),
        (6, Refusal::NameTaken { by: Incarnation(5) }),
    ] {
        let hello = hello_of(&terms("b", theirs));
        assert_eq!(b.judge_hello(&hello, &identity("shop", "b")), Err(refusal));
    }
}

#[test]
fn whoever_answers_in_place_of_the_dialled_node_is_refused() {
    let (a, b) = (terms("a", 1), terms("b", 1));
    let welcome = b.judge_hello(&hello_of(&a), &identity("shop", "a")).unwrap();
    let c: NodeName = "c".parse().unwrap();
    let refused = a.judge_welcome(&welcome, &identity("shop", "b"), Some(&c));
    assert_eq!(refused, Err(Refusal::WrongNode { expected: c, found: "b".parse().unwrap() }));
}

#[test]
fn a_refusal_says_which_and_what_to_do() {
    let (a, b) = (terms("a", 1), terms("b", 1));
    let refusal = b.judge_hello(&hello_of(&a), &identity("shop", "mallory")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the refused node calls itself shop/a, but its certificate is for shop/mallory: \
         give it the configuration that belongs to its certificate"
    );
    assert_eq!(refusal.cause(), "not-your-certificate");
}
