//! Payloads: sealed, stored and read back, or lost.

use std::path::PathBuf;

use jiff::civil::date;

use super::*;

const INLINE_MAX: usize = 1_000;

fn hint(id: u128) -> Hint {
    Hint { day: date(2026, 11, 22), of: Of::Delivery(DeliveryId(Uuid::from_u128(id))) }
}

/// Bytes that LZ4 cannot shrink.
fn noise(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(next).collect::<Vec<u8>>().into()
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        Folder(std::env::temp_dir().join(format!("landfall-payloads-{}", Uuid::now_v7())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing was made where the test failed early.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn check(payloads: &Payloads, bytes: Bytes, stored: bool) -> Sealed {
    let sealed = payloads.seal(bytes.clone(), hint(1)).await.unwrap();
    assert_eq!(sealed.is_stored(), stored);
    assert_eq!(payloads.unseal(&sealed).await.unwrap(), bytes);
    sealed
}

#[tokio::test]
async fn every_size_and_form_comes_back_whole() {
    let payloads = Payloads::in_memory(INLINE_MAX);
    assert_eq!(check(&payloads, Bytes::new(), false).await.size_in_row(), CONTENT_AT);
    assert_eq!(payloads.unseal(&Sealed::nothing()).await.unwrap(), Bytes::new());
    assert_eq!(check(&payloads, noise(300), false).await.size_in_row(), CONTENT_AT + 300);
    let text = Bytes::from("steps ".repeat(100));
    assert!(check(&payloads, text, false).await.size_in_row() < 100);
    check(&payloads, noise(INLINE_MAX), false).await;
    check(&payloads, noise(INLINE_MAX + 1), true).await;
    check(&payloads, vec![b'x'; 3_000_000].into(), true).await;
    let roomy = Payloads::in_memory(10_000_000);
    check(&roomy, noise(1_000_000), false).await;
}

#[tokio::test]
async fn a_folder_keeps_objects_for_the_next_process() {
    let folder = Folder::new();
    let url = PayloadsUrl::File(folder.0.join("deep/payloads"));
    let open = || Payloads::open(&url, INLINE_MAX).unwrap();
    let sealed = check(&open(), noise(5_000), true).await;
    assert_eq!(open().unseal(&sealed).await.unwrap(), noise(5_000));

    open().delete(&sealed).await.unwrap();
    assert!(matches!(open().unseal(&sealed).await, Err(PayloadError::Lost(_))));
    open().delete(&sealed).await.unwrap();
}

#[tokio::test]
async fn what_is_held_is_known_between_two_countings() {
    let payloads = Payloads::in_memory(INLINE_MAX);
    let first = payloads.seal(noise(5_000), hint(1)).await.unwrap();
    assert_eq!(payloads.tally(), None, "nobody has counted yet");
    let counted = payloads.stored(10).await.unwrap();
    assert_eq!((counted.0, payloads.tally()), (1, Some(counted)));
    payloads.seal(noise(6_000), hint(2)).await.unwrap();
    let document = Hint { of: Of::Document { delivery: DeliveryId(Uuid::nil()), id: Uuid::nil() }, ..hint(0) };
    payloads.seal(noise(7_000), document).await.unwrap();
    assert_eq!(payloads.clone().tally().unwrap().0, 3);
    payloads.delete(&first).await.unwrap();
    assert_eq!(payloads.tally().unwrap().0, 2);
    assert_eq!(payloads.delete_all(DOCUMENTS).await.unwrap(), 1);
    let running = payloads.tally();
    assert_eq!(running, Some(payloads.stored(10).await.unwrap()));
}

#[tokio::test]
async fn what_tries_of_a_delivery_left_goes_as_a_whole_and_nothing_else() {
    let folder = Folder::new();
    let url = PayloadsUrl::File(folder.0.clone());
    for payloads in [Payloads::in_memory(INLINE_MAX), Payloads::open(&url, INLINE_MAX).unwrap()] {
        let day = date(2026, 11, 22);
        let [one, other] = [1, 2].map(|id| DeliveryId(Uuid::from_u128(id)));
        let document = |delivery, id| Hint { day, of: Of::Document { delivery, id: Uuid::from_u128(id) } };
        for (delivery, id) in [(one, 1), (one, 2), (other, 1)] {
            payloads.seal(noise(5_000 + id as usize), document(delivery, id)).await.unwrap();
        }
        check(&payloads, noise(5_000), true).await;
        let at = day.at(23, 59, 59, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let all = Sealed::documents_of(one, at);
        assert!(all.is_stored() && matches!(payloads.unseal(&all).await, Err(PayloadError::Lost(_))));
        for _ in 0..2 {
            payloads.delete(&all).await.unwrap();
            assert_eq!(payloads.stored(10).await.unwrap().0, 2, "the other's document, and the body");
        }
        for strange in [&b"\x03"[..], b"\x03{}", br#"{"day":"2026-11-22","delivery":""}"#] {
            let strange = Sealed(Bytes::copy_from_slice(strange));
            assert!(matches!(payloads.delete(&strange).await, Err(PayloadError::Lost(_))));
        }
        assert_eq!(payloads.stored(10).await.unwrap().0, 2);
    }
}

#[tokio::test]
async fn an_object_that_changed_is_lost() {
    let folder = Folder::new();
    let payloads = Payloads::open(&PayloadsUrl::File(folder.0.clone()), INLINE_MAX).unwrap();
    let sealed = check(&payloads, noise(5_000), true).await;
    let pointer = pointer(&sealed).unwrap().unwrap();
    let file = folder.0.join(&pointer.key);
    for damage in [&noise(5_001)[1..], b"short"] {
        std::fs::write(&file, damage).unwrap();
        assert!(matches!(payloads.unseal(&sealed).await, Err(PayloadError::Lost(_))));
    }
}

#[tokio::test]
async fn one_cause_with_two_contents_has_two_objects() {
    let payloads = Payloads::in_memory(INLINE_MAX);
    let first = payloads.seal(noise(5_000), hint(7)).await.unwrap();
    payloads.seal(noise(6_000), hint(7)).await.unwrap();
    assert_eq!(payloads.unseal(&first).await.unwrap(), noise(5_000));
}

#[tokio::test]
async fn sealed_bytes_from_strangers_are_lost_but_harm_nothing() {
    let payloads = Payloads::in_memory(INLINE_MAX);
    let content = [&u32::MAX.to_le_bytes()[..], &[0xff; 64]].concat();
    let bomb = [&[FORM_LZ4][..], &checksum(FORM_LZ4, &content), &content].concat();
    let outside = [&[FORM_POINTER][..], br#"{"key":"../../etc/passwd","size":1,"sha256":""}"#].concat();
    let cases = [vec![], vec![9], vec![FORM_LZ4], vec![FORM_LZ4, 1, 0], bomb, vec![FORM_POINTER], outside];
    for case in cases {
        let result = payloads.unseal(&Sealed(case.clone().into())).await;
        assert!(matches!(result, Err(PayloadError::Lost(_))), "{case:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_bit_that_was_turned_anywhere_is_noticed() {
    let payloads = Payloads::in_memory(INLINE_MAX);
    for bytes in [Bytes::new(), noise(300), "steps ".repeat(100).into(), noise(INLINE_MAX + 1)] {
        let sealed = payloads.seal(bytes, hint(1)).await.unwrap();
        for bit in 0..sealed.0.len() * 8 {
            let mut turned = sealed.0.to_vec();
            turned[bit / 8] ^= 1 << (bit % 8);
            let result = payloads.unseal(&Sealed(turned.into())).await;
            assert!(matches!(result, Err(PayloadError::Lost(_))), "bit {bit} of {}", sealed.0.len());
        }
    }
}

#[test]
fn debug_prints_no_content() {
    assert_eq!(format!("{:?}", Sealed(Bytes::from_static(b"secret"))), "Sealed(6 bytes)");
}
