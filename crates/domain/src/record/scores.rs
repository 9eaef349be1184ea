//! Terra's enrichment scores: each keeps a stamp of its own, and its value is the non-null one of greatest order.
//!
//! A later delivery may carry nulls where an earlier one had scores (Terra computes them when it can): the rest of a
//! record is a superset of what was sent before, the scores are not.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::order::{Order, Stamped, keep_greatest};

/// Members of `data_enrichment` by name, each as JSON text. Stored as `{"<name>": {"order": "<hex>", "value": "<text>"}}`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Scores(BTreeMap<String, Stamped<String>>);

impl Scores {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON text of one score.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|score| score.value.as_str())
    }

    /// Takes in what one delivery says; true if anything of it counts.
    pub fn take(&mut self, order: Order, said: &BTreeMap<String, String>) -> bool {
        let mut moved = false;
        for (name, value) in said {
            let mut kept = self.0.remove(name);
            let before = kept.as_ref().map(|kept| kept.order);
            keep_greatest(&mut kept, Some(Stamped { order, value: value.clone() }));
            moved |= kept.as_ref().map(|kept| kept.order) != before;
            self.0.extend(kept.map(|kept| (name.clone(), kept)));
        }
        moved
    }

    /// Takes in the scores of the same record under another alias.
    pub fn join(&mut self, other: Scores) {
        for (name, said) in other.0 {
            let mut kept = self.0.remove(&name);
            keep_greatest(&mut kept, Some(said));
            self.0.extend(kept.map(|kept| (name, kept)));
        }
    }

    /// The scores whose value differs, as paths.
    pub fn changed(&self, from: &Scores) -> Vec<String> {
        let differs = |name: &&String| self.get(name) != from.get(name);
        self.0.keys().filter(differs).map(|name| format!("data_enrichment.{name}")).collect()
    }
}

impl std::fmt::Debug for Scores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, score)| (name, score.order))).finish()
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    order: String,
    value: String,
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, score)| {
            (name, Row { order: hex::encode(score.order.as_bytes()), value: score.value.clone() })
        }))
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows: BTreeMap<String, Row> = BTreeMap::deserialize(deserializer)?;
        let scores: Option<BTreeMap<_, _>> = rows
            .into_iter()
            .map(|(name, row)| {
                let order = Order::from_slice(&hex::decode(row.order).ok()?)?;
                Some((name, Stamped { order, value: row.value }))
            })
            .collect();
        scores.map(Scores).ok_or_else(|| serde::de::Error::custom("an order is 16 bytes in hex"))
    }
}

/// Terra's object with the scores as merged: what its `data_enrichment` would be if nulls erased nothing.
///
/// - Errors: where `document` is no JSON object, or has no place for scores, it is answered as it is.
pub fn overlaid(document: &str, scores: &Scores) -> String {
    if scores.is_empty() {
        return document.to_owned();
    }
    let Ok(mut members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(document) else {
        return document.to_owned();
    };
    let sent = members.get("data_enrichment").map_or("{}", |sent| sent.get());
    let mut enrichment: BTreeMap<String, Box<RawValue>> = serde_json::from_str(sent).unwrap_or_default();
    for (name, score) in &scores.0 {
        if let Ok(value) = RawValue::from_string(score.value.clone()) {
            enrichment.insert(name.clone(), value);
        }
    }
    let merged = serde_json::value::to_raw_value(&enrichment).ok();
    members.extend(merged.map(|merged| ("data_enrichment".to_owned(), merged)));
    serde_json::to_string(&members).unwrap_or_else(|_| document.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(scores: &[(&str, &str)]) -> BTreeMap<String, String> {
        scores.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_score_is_the_one_of_greatest_order() {
        let mut scores = Scores::default();
        assert!(scores.take(Order::at(5), &said(&[("a", "1"), ("b", "1")])));
        assert!(scores.take(Order::at(9), &said(&[("b", "2")])));
        assert!(!scores.take(Order::at(3), &said(&[("a", "0")])));
        assert_eq!((scores.get("a"), scores.get("b")), (Some("1"), Some("2")));
        let text = serde_json::to_string(&scores).unwrap();
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), scores);
    }

    #[test]
    fn a_document_is_shown_with_its_scores_as_merged() {
        let mut scores = Scores::default();
        scores.take(Order::at(5), &said(&[("strain_score", "1.50")]));
        let document = r#"{"b":1e400,"data_enrichment":{"strain_score":null,"trimp_score":2},"a":"\u0000"}"#;
        let expected = r#"{"a":"\u0000","b":1e400,"data_enrichment":{"strain_score":1.50,"trimp_score":2}}"#;
        assert_eq!(overlaid(document, &scores), expected);
        assert_eq!(overlaid(document, &Scores::default()), document);
        assert_eq!(overlaid("7", &scores), "7");
    }

    #[test]
    fn no_score_shows_in_debug_output() {
        let mut scores = Scores::default();
        scores.take(Order::at(1), &said(&[("a", "77")]));
        assert!(!format!("{scores:?}").contains("77"));
    }
}
