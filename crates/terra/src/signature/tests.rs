//! Published vectors, headers that must not pass, headers that must, and the age of a delivery.

use proptest::prelude::*;

use super::*;

const BODY: &[u8] = b"{'bar':'baz'}";
/// Of `BODY` at `t=12345678` under the secret `foo`.
const V1: &str = "599aa529690b885a43f184327c582375068d70705b7a471af15e10682c6f5313";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn vector_secret(bytes: &str) -> Secret {
    Secret::unchecked_for_vectors(bytes.as_bytes())
}

fn check_header(value: &[u8]) -> Result<usize, SignatureError> {
    verify(&SignatureHeader::parse(value)?, BODY, &[vector_secret("foo")])
}

/// Fills `V1` and `OTHER` into a header and judges it over `BODY`.
#[track_caller]
fn check(header: &str, expected: Result<(), SignatureError>) {
    let header = header.replace("{v1}", V1).replace("{other}", OTHER);
    assert_eq!(check_header(header.as_bytes()).map(drop), expected, "{header:?}");
}

/// Sources: terra-client-java, TestWebhookHandlerUtility (first); williamkennedy/tryterra_api, web_hook_test (second).
#[test]
fn the_published_vectors_pass() {
    let vectors =
        [("foo", V1, BODY), ("key", "dca55eca8f595bd4d80250ab9609c7cbecec8e581c5c3822294f7c2ee1c99377", b"123")];
    for (secret, v1, body) in vectors {
        let value = format!("t=12345678,v1={v1}");
        let header = SignatureHeader::parse(value.as_bytes()).unwrap();
        assert_eq!(verify(&header, body, &[vector_secret(secret)]), Ok(0));
        assert_eq!(sign(&vector_secret(secret), 12_345_678, body), value);
    }
}

#[test]
fn the_published_headers_without_signature_are_malformed() {
    check("bar", Err(SignatureError::Malformed));
    check("t=1234,s=aef6655db12", Err(SignatureError::Malformed));
}

#[test]
fn headers_that_differ_only_in_tolerated_ways_pass() {
    for header in [
        "t=12345678,v1={v1}",
        "v1={v1},t=12345678",
        " t=12345678 , v1={v1} ",
        "\tt=12345678,\tv1={v1}",
        "t=12345678,v1={other},v1={v1}",
        "t=12345678,v1={v1},v1={other}",
        "t=12345678,v1={v1},v1={v1}",
        "t=12345678,v0={other},v1={v1}",
        "t=12345678,v1={v1},v2=a=b=c",
        "t=12345678,v1={v1},future=",
        "t=12345678,v1=beef,v1={v1}",
        "t=12345678,v1={v1},v1=",
    ] {
        check(header, Ok(()));
    }
    let upper = format!("t=12345678,v1={}", V1.to_ascii_uppercase());
    check(&upper, Ok(()));
}

#[test]
fn malformed_headers_are_refused() {
    let malformed = [
        "",
        " ",
        ",",
        "=",
        "t",
        "v1",
        "t=,v1=",
        "t=12345678",
        "v1={v1}",
        "{v1}",
        "12345678,{v1}",
        "t=12345678 v1={v1}",
        "t=12345678;v1={v1}",
        "t=12345678,v0={v1}",
        "t=12345678,V1={v1}",
        "T=12345678,v1={v1}",
        "t=12345678,v1 ={v1}",
        "t=12345678,v1= {v1}",
        "t =12345678,v1={v1}",
        "t= 12345678,v1={v1}",
        "t=12345678,v1=0x{v1}",
        "t=12345678,v1=\"{v1}\"",
        "t=12345678,v1={v1}0",
        "t=12345678,v1={v1}{other}",
        "t=12345678,v1=",
        "t=12345678,v1=g{v1}",
        "t=12345678,v1=zz9aa529690b885a43f184327c582375068d70705b7a471af15e10682c6f5313",
        "t=12345678,v1=99aa529690b885a43f184327c582375068d70705b7a471af15e10682c6f5313",
        "t=12345678,v1={v1},",
        ",t=12345678,v1={v1}",
        "t=12345678,,v1={v1}",
        "t=12345678,v1={v1},junk",
        "t=12345678,t=12345678,v1={v1}",
        "t=12345678,v1={v1},t=12345679",
        "t=12345678,v1={v1},t=12345678,v1={v1}",
        "t=,v1={v1}",
        "t=+12345678,v1={v1}",
        "t=-12345678,v1={v1}",
        "t=12345678.0,v1={v1}",
        "t=1e7,v1={v1}",
        "t=0xbc614e,v1={v1}",
        "t=12_345_678,v1={v1}",
        "t=12 345 678,v1={v1}",
        "t=now,v1={v1}",
        "t=1000000000000000,v1={v1}",
        "t=1000000000000000000000000000000,v1={v1}",
        "t=9223372036854775808,v1={v1}",
        "t=12345678\0,v1={v1}",
        "t=12345678,v1={v1}\r\n",
        "t=12345678,v1={v1}\0",
        "t=12345678,v1={v1},x=\u{7f}",
        "t=12345678,v1={v1},x=ä",
        "t=１２３４５６７８,v1={v1}",
        "\u{feff}t=12345678,v1={v1}",
        "t=12345678,\u{a0}v1={v1}",
    ];
    for header in malformed {
        check(header, Err(SignatureError::Malformed));
    }
    assert_eq!(check_header(b"t=12345678,v1=\xff\xfe"), Err(SignatureError::Malformed));
    let v1s = format!(",v1={V1}").repeat(HEADER_BYTES_MAX / V1.len());
    check(&format!("t=12345678{v1s}"), Err(SignatureError::Malformed));
}

#[test]
fn well_formed_headers_of_something_else_do_not_match() {
    for header in [
        "t=12345678,v1={other}",
        "t=12345679,v1={v1}",
        "t=012345678,v1={v1}",
        "t=0,v1={v1}",
        "t=999999999999999,v1={v1}",
        "t=12345678,v1={other},v0={v1}",
        "t=12345678,v1=499aa529690b885a43f184327c582375068d70705b7a471af15e10682c6f5313",
        "t=12345678,v1=599aa529690b885a43f184327c582375068d70705b7a471af15e10682c6f5314",
    ] {
        check(header, Err(SignatureError::Mismatch));
    }
}

#[test]
fn leading_zeros_of_t_are_part_of_what_is_signed() {
    let header = SignatureHeader::parse(format!("t=007,v1={OTHER}").as_bytes()).unwrap();
    assert_eq!((header.t_seconds(), header.t_text()), (7, "007"));
    assert_eq!(signed_digest(&header, b"x"), body_digest(b"007.x"));
}

#[test]
fn another_body_or_secret_does_not_match() {
    let header = SignatureHeader::parse(format!("t=12345678,v1={V1}").as_bytes()).unwrap();
    let foo = [vector_secret("foo")];
    assert_eq!(verify(&header, b"{'bar':'baz'} ", &foo), Err(SignatureError::Mismatch));
    assert_eq!(verify(&header, b"", &foo), Err(SignatureError::Mismatch));
    assert_eq!(verify(&header, BODY, &[vector_secret("fo")]), Err(SignatureError::Mismatch));
    assert_eq!(verify(&header, BODY, &[]), Err(SignatureError::Mismatch));
}

#[test]
fn the_secret_that_fits_is_named() {
    let header = SignatureHeader::parse(format!("t=12345678,v1={V1}").as_bytes()).unwrap();
    let secrets = ["old", "foo", "new", "foo"].map(vector_secret);
    assert_eq!(verify(&header, BODY, &secrets), Ok(1));
}

#[test]
fn one_header_may_come_under_both_names_but_two_headers_may_not() {
    let good = format!("t=12345678,v1={V1}");
    let other = format!("t=12345678,v1={OTHER}");
    let of =
        |values: &[&str]| from_headers(values.iter().map(|value| value.as_bytes())).map(|header| header.t_seconds());
    assert_eq!(of(&[]), Err(SignatureError::Missing));
    assert_eq!(of(&[&good]), Ok(12_345_678));
    assert_eq!(of(&[&good, &good]), Ok(12_345_678));
    assert_eq!(of(&[&good, &format!(" {good} ")]), Ok(12_345_678));
    assert_eq!(of(&[&good, &other]), Err(SignatureError::Conflicting));
    assert_eq!(of(&[&good, &good, &other]), Err(SignatureError::Conflicting));
    assert_eq!(of(&[&good, ""]), Err(SignatureError::Conflicting));
    assert_eq!(of(&[""]), Err(SignatureError::Malformed));
}

#[test]
fn a_secret_that_is_empty_blank_or_short_is_refused() {
    assert_eq!(Secret::new(b"").err(), Some(SecretError::Empty));
    assert_eq!(Secret::new(b" \t\r\n              ").err(), Some(SecretError::Empty));
    assert_eq!(Secret::new(b"fifteen bytes..").err(), Some(SecretError::TooShort));
    assert_eq!(Secret::new(b"fifteen bytes..\n").err(), Some(SecretError::TooShort));
    assert!(Secret::new(b"sixteen bytes...").is_ok());
    assert!(Secret::new(&[b'x'; 1_000]).is_ok());
}

#[test]
fn a_secret_does_not_print() {
    assert_eq!(format!("{:?}", vector_secret("foo")), "Secret(..)");
}

#[test]
fn the_tolerance_is_two_sided_and_inclusive() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(age(1_000, 1_300_000, minutes(5)), Age::Fresh);
    assert_eq!(age(1_000, 1_300_001, minutes(5)), Age::Stale { by: Duration::from_millis(300_001) });
    assert_eq!(age(1_000, 700_000, minutes(5)), Age::Fresh);
    assert_eq!(age(1_000, 699_999, minutes(5)), Age::Future);
    assert_eq!(age(1_000, 1_000_000, Duration::ZERO), Age::Fresh);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(value: Vec<u8>) {
        assert!(SignatureHeader::parse(&value).is_err());
    }

    #[test]
    fn any_text_of_the_right_alphabet_is_survived(value in "[tv01=, a-f0-9]{0,200}") {
        prop_assert!(check_header(value.as_bytes()).is_err());
    }

    #[test]
    fn what_we_sign_passes_and_one_flipped_bit_does_not(t in 0_i64..1_000_000_000_000_000, body: Vec<u8>, bit in 0_usize..256) {
        let secret = Secret::new(b"a secret of enough bytes").unwrap();
        let header = sign(&secret, t, &body);
        let mut parsed = SignatureHeader::parse(header.as_bytes()).unwrap();
        prop_assert_eq!(parsed.t_seconds(), t);
        prop_assert_eq!(verify(&parsed, &body, std::slice::from_ref(&secret)), Ok(0));
        parsed.v1[0][bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify(&parsed, &body, std::slice::from_ref(&secret)), Err(SignatureError::Mismatch));
    }

    #[test]
    fn any_times_are_survived(t: i64, now: i64, tolerance: u64) {
        age(t, now, Duration::from_secs(tolerance));
    }
}
