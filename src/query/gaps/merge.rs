//! Combines responses of several replicas.

use super::{data_read::Combination, warnings::INCOMPLETE};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Labels by name. Prometheus sorts series by them.
type Labels<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// What all responses of Prometheus' API contain.
#[derive(Deserialize)]
struct ApiResponse<'a, T> {
    data: T,
    #[serde(borrow, default)]
    warnings: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    infos: Vec<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Merged<'a, T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    warnings: BTreeSet<Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    infos: BTreeSet<Cow<'a, str>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Matrix<T> {
    result_type: ResultType,
    result: Vec<T>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum ResultType {
    Matrix,
}

/// The samples of one series, as the server wrote them.
#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: Labels<'a>,
    #[serde(borrow, default)]
    values: Option<&'a RawValue>,
    #[serde(borrow, default)]
    histograms: Option<&'a RawValue>,
}

/// The samples of one series, of all slices.
#[derive(Serialize)]
struct MergedSeries<'a> {
    metric: Labels<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    histograms: Option<Box<RawValue>>,
}

/// Combines `bodies`, in the order of their slices. Adds a warning unless they are complete together.
///
/// # Errors
/// A body is not what Prometheus responds.
pub(super) fn merge<B: AsRef<[u8]>>(
    combination: Combination,
    bodies: &[B],
    is_complete: bool,
) -> Result<Vec<u8>, serde_json::Error> {
    match combination {
        Combination::Slices | Combination::Impossible => merge_data(bodies, is_complete, slices),
        Combination::Labels { limit } => merge_data(bodies, is_complete, |all, warnings| {
            union::<Cow<'_, str>>(all, limit, warnings)
        }),
        Combination::Series { limit } => merge_data(bodies, is_complete, |all, warnings| {
            union::<Labels<'_>>(all, limit, warnings)
        }),
    }
}

fn merge_data<'a, B: AsRef<[u8]>, T: Deserialize<'a>, M: Serialize>(
    bodies: &'a [B],
    is_complete: bool,
    combine: impl FnOnce(Vec<T>, &mut BTreeSet<Cow<'a, str>>) -> Result<M, serde_json::Error>,
) -> Result<Vec<u8>, serde_json::Error> {
    let (mut all, mut warnings, mut infos) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    if !is_complete {
        warnings.insert(INCOMPLETE.into());
    }
    for body in bodies {
        let response: ApiResponse<'a, T> = serde_json::from_slice(body.as_ref())?;
        all.push(response.data);
        warnings.extend(response.warnings);
        infos.extend(response.infos);
    }
    let data = combine(all, &mut warnings)?;
    serde_json::to_vec(&Merged { status: "success", data, warnings, infos })
}

/// Joins the samples of each series.
fn slices<'a>(
    all: Vec<Matrix<Series<'a>>>,
    _: &mut BTreeSet<Cow<'a, str>>,
) -> Result<Matrix<MergedSeries<'a>>, serde_json::Error> {
    let mut series: BTreeMap<Labels<'a>, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for one in all.into_iter().flat_map(|it| it.result) {
        let (values, histograms) = series.entry(one.metric).or_default();
        values.extend(one.values.and_then(items));
        histograms.extend(one.histograms.and_then(items));
    }
    let with_samples = series.into_iter().filter(|(_, it)| !it.0.is_empty() || !it.1.is_empty());
    let joined = with_samples.map(|(metric, (values, histograms))| {
        Ok(MergedSeries { metric, values: array(&values)?, histograms: array(&histograms)? })
    });
    let result = joined.collect::<Result<_, serde_json::Error>>()?;
    Ok(Matrix { result_type: ResultType::Matrix, result })
}

/// The items of an array, as text.
fn items(array: &RawValue) -> Option<&str> {
    let items = array.get().strip_prefix('[')?.strip_suffix(']')?;
    Some(items).filter(|it| !it.trim().is_empty())
}

fn array(items: &[&str]) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    if items.is_empty() {
        return Ok(None);
    }
    RawValue::from_string(format!("[{}]", items.join(","))).map(Some)
}

fn union<'a, T: Ord>(
    all: Vec<Vec<T>>,
    limit: Option<usize>,
    warnings: &mut BTreeSet<Cow<'a, str>>,
) -> Result<Vec<T>, serde_json::Error> {
    let all: BTreeSet<T> = all.into_iter().flatten().collect();
    let limit = limit.unwrap_or(usize::MAX);
    if all.len() > limit {
        warnings.insert("results truncated due to limit".into());
    }
    Ok(all.into_iter().take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn merged(combination: Combination, bodies: &[&str], is_complete: bool) -> String {
        String::from_utf8(merge(combination, bodies, is_complete).unwrap()).unwrap()
    }

    #[test]
    fn slices_are_joined_by_series_with_the_bytes_of_the_servers() {
        let first = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"x","b":"2"},"values":[[1.5,"0"],[2.5,"1e-9"]]},
            {"metric":{"__name__":"x","b":"1"},"values":[[1.5,"NaN"]]}]},"infos":["i"]}"#;
        let second = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"b":"2","__name__":"x"},"values":[[3.5,"+Inf"]],
             "histograms":[[4.5,{"count":"3"}]]},
            {"metric":{},"values":[ ]}]},"warnings":["w"]}"#;
        let expected = concat!(
            r#"{"status":"success","data":{"resultType":"matrix","result":["#,
            r#"{"metric":{"__name__":"x","b":"1"},"values":[[1.5,"NaN"]]},"#,
            r#"{"metric":{"__name__":"x","b":"2"},"values":[[1.5,"0"],[2.5,"1e-9"],[3.5,"+Inf"]],"#,
            r#""histograms":[[4.5,{"count":"3"}]]}]},"warnings":["w"],"infos":["i"]}"#
        );
        assert_eq!(merged(Combination::Slices, &[first, second], true), expected);
        let incomplete = merged(Combination::Slices, &[first, second], false);
        let incomplete: Value = serde_json::from_str(&incomplete).unwrap();
        assert_eq!(incomplete["warnings"], json!([INCOMPLETE, "w"]));
    }

    #[test]
    fn lists_are_united() {
        let bodies =
            [r#"{"data":["job","a\"b"]}"#, r#"{"data":["instance","job"],"warnings":["w"]}"#];
        let labels = |limit| merged(Combination::Labels { limit }, &bodies, true);
        assert_eq!(
            labels(None),
            r#"{"status":"success","data":["a\"b","instance","job"],"warnings":["w"]}"#
        );
        let limited: Value = serde_json::from_str(&labels(Some(2))).unwrap();
        assert_eq!(limited["data"], json!(["a\"b", "instance"]));
        assert_eq!(limited["warnings"], json!(["results truncated due to limit", "w"]));

        let bodies = [
            r#"{"data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}"#,
            r#"{"data":[{"job":"a","__name__":"up"}]}"#,
        ];
        let series = merged(Combination::Series { limit: None }, &bodies, true);
        let expected = r#"{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}"#;
        assert_eq!(series, expected);
    }

    #[test]
    fn other_bodies_are_not_merged() {
        for body in [
            "",
            "<html>",
            "[]",
            r#"{"status":"error","error":"x"}"#,
            r#"{"data":{"resultType":"vector","result":[]}}"#,
            r#"{"data":{"resultType":"matrix","result":[{"metric":{"a":1}}]}}"#,
        ] {
            assert!(merge(Combination::Slices, &[body], true).is_err(), "{body}");
            assert!(merge(Combination::Labels { limit: None }, &[body], true).is_err(), "{body}");
        }
    }
}
