use std::io::Read;

use flate2::read::GzDecoder;
use proptest::{collection::vec, prelude::*};

use super::*;

/// A call of the writer.
#[derive(Clone, Debug)]
enum Call {
    Write(Vec<u8>),
    Line(Vec<u8>, usize, Vec<u8>),
    Take,
}

/// Compresses and decompresses. Checks that the text is unchanged and that the result does not
/// depend on the calls of `take`.
fn round_trip(blocks: &[Vec<u8>], calls: &[Call]) -> usize {
    let (compressed, expected) = compress(blocks, calls);
    if calls.iter().any(|call| matches!(call, Call::Take)) {
        let calls: Vec<Call> =
            calls.iter().filter(|call| !matches!(call, Call::Take)).cloned().collect();
        assert!(compressed == compress(blocks, &calls).0, "the calls of take change the output");
    }
    let mut decoder = GzDecoder::new(&*compressed);
    let mut text = Vec::new();
    // Verifies the checksum and the length too.
    decoder.read_to_end(&mut text).unwrap();
    assert!(decoder.into_inner().is_empty(), "there are bytes after the member");
    assert!(text == expected, "decompression gives another text");
    compressed.len()
}

/// Returns the compressed and the expected text.
fn compress(blocks: &[Vec<u8>], calls: &[Call]) -> (Vec<u8>, Vec<u8>) {
    let mut gzip = GzipWriter::new();
    let labels: Vec<LabelBlockId> = blocks.iter().map(|block| gzip.add_labels(block)).collect();
    let (mut expected, mut compressed) = (Vec::new(), Vec::new());
    for call in calls {
        match call {
            Call::Write(text) => {
                gzip.write(text);
                expected.extend_from_slice(text);
            }
            Call::Line(before, block, after) => {
                let block = block % blocks.len();
                gzip.line(before, labels[block], after);
                for part in [before, &blocks[block], after] {
                    expected.extend_from_slice(part);
                }
            }
            Call::Take => {
                let waiting = gzip.pending();
                let taken = gzip.take();
                assert_eq!(taken.len(), waiting);
                compressed.extend(taken);
            }
        }
    }
    compressed.extend(gzip.finish());
    (compressed, expected)
}

fn line(before: &str, block: usize, after: &str) -> Call {
    Call::Line(before.into(), block, after.into())
}

fn label_blocks(count: usize) -> Vec<Vec<u8>> {
    let block = |i| {
        format!(
            ",organization_id=\"9f6e1f11-2a5c-5021-ae8f-19597ea2d722\",\
             space_id=\"4ba40828-416b-53b1-abc0-89637f5e22e2\",\
             app_id=\"a1da57f0-08f3-5b8e-9775-5bd401b1f2d5\",organization_name=\"org\",\
             space_name=\"space\",app_name=\"app\",index=\"{i}\",instance_id=\"{i}\",\
             instance=\"10.0.{i}.7:61002\""
        )
        .into_bytes()
    };
    (0..count).map(block).collect()
}

#[test]
fn an_empty_text_is_a_valid_member() {
    round_trip(&[], &[]);
    round_trip(&[], &[Call::Write(Vec::new()), Call::Take]);
    round_trip(&[Vec::new()], &[line("", 0, "")]);
}

#[test]
fn lines_of_many_instances_shrink_to_a_thirtieth() {
    let blocks = label_blocks(50);
    let mut calls = Vec::new();
    let mut length = 0;
    for family in 0..20 {
        calls.push(Call::Write(format!("# TYPE requests_{family}_total counter\n").into()));
        for (i, block) in blocks.iter().enumerate() {
            for code in ["200", "201", "404", "500", "502", "503"] {
                let before = format!("requests_{family}_total{{method=\"GET\",code=\"{code}\"");
                let after = format!("}} {}\n", (i * 7919 + family) % 10_007);
                length += before.len() + block.len() + after.len();
                calls.push(line(&before, i, &after));
            }
        }
    }
    let compressed = round_trip(&blocks, &calls);
    assert!(compressed * 30 < length, "{length} to {compressed}");
}

#[test]
fn instances_can_have_fewer_or_more_lines() {
    let blocks = label_blocks(4);
    let mut calls = Vec::new();
    for family in 0..3 {
        for i in 0..40 {
            for code in 0..20 {
                if (code * 7 + i * 5) % 11 != 0 {
                    let before = format!("requests_{family}{{code=\"{code}\"");
                    calls.push(line(&before, i, &format!("}} {i}\n")));
                }
            }
            calls.push(line(&format!("requests_{family}"), i, " 1\n"));
        }
    }
    round_trip(&blocks, &calls);
}

#[test]
fn copies_stay_within_the_window() {
    let blocks = label_blocks(3);
    // At these distances each part of the first line is sometimes inside and sometimes outside the
    // window.
    for distance in 32_900..33_500 {
        let calls = [
            line("requests{code=\"200\"", 0, "} 12345\n"),
            Call::Write(vec![b'x'; distance - 700]),
            line("requests{code=\"200\"", 0, "} 12345\n"),
            line("requests{code=\"200\"", 1, "} 12345\n"),
        ];
        round_trip(&blocks, &calls);
    }
    // The family is as long as the window, so the same line of the instance before is at its edge.
    for filling in (0..300).step_by(3) {
        let mut calls = Vec::new();
        for i in 0..3 {
            for number in 0..87 {
                calls.push(line(&format!("requests{{code=\"{number}\""), i, "} 12345\n"));
            }
            calls.push(line(&format!("requests{{name=\"{}\"", "y".repeat(filling)), i, "} 1\n"));
        }
        round_trip(&blocks, &calls);
    }
}

#[test]
fn copies_of_any_length_are_split_correctly() {
    for length in (0..600).chain(1_010..1_040) {
        let blocks = [vec![b'l'; length], [&vec![b'l'; length][..], b"m"].concat()];
        let before = "b".repeat(length.min(9));
        let calls = [
            line(&before, 0, " 1\n"),
            line(&before, 0, " 1\n"),
            line(&before, 0, " 2\n"),
            line(&before, 1, " 2\n"),
            line(&before, 1, " 2"),
            line(&before, 0, "\n"),
            line(&before, 0, ""),
        ];
        round_trip(&blocks, &calls);
        let before = "b".repeat(length);
        round_trip(
            &label_blocks(2),
            &[
                line(&before, 0, " 1\n"),
                line(&before, 0, " 1\n"),
                line(&before, 1, " 1\n"),
                line(&before, 1, &before),
            ],
        );
    }
}

#[test]
fn zero_bytes_do_not_end_a_line() {
    for end in ["", "\0", "\0\0\0", "\n", "\0\n"] {
        let value = format!("}} 1{end}");
        round_trip(
            &label_blocks(1),
            &[
                line("requests{code=\"200\"", 0, "} 1"),
                line("requests{code=\"200\"", 0, &value),
                line("requests{code=\"200\"", 0, "} 1"),
            ],
        );
    }
}

#[test]
fn more_lines_than_the_ring_holds_are_written() {
    let blocks = label_blocks(2);
    let mut calls = Vec::new();
    for i in 0..4 {
        for number in 0..9_000 {
            let before = format!("requests{{code=\"{number}\",name=\"{}\"", "n".repeat(i * 20));
            calls.push(line(&before, i / 2, &format!("}} {}\n", number % 3)));
        }
    }
    round_trip(&blocks, &calls);
}

#[test]
fn random_bytes_grow_by_less_than_their_length() {
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let text: Vec<u8> = (0..1 << 20).map(|_| random()).collect();
    let compressed = round_trip(&[], &[Call::Write(text.clone())]);
    assert!(compressed < text.len() + text.len() / 50, "{compressed}");
    let worst = vec![0xC3; 1_000];
    assert!(round_trip(&[], &[Call::Write(worst)]) < 1_000 * 7 / 4 + 200);
}

#[test]
fn labels_of_another_writer_are_ignored() {
    let labels = GzipWriter::new().add_labels(b"{a=\"1\"}");
    let mut gzip = GzipWriter::new();
    gzip.line(b"x", labels, b" 1\n");
    gzip.write(b"y 1\n");
    let mut text = String::new();
    GzDecoder::new(&*gzip.finish()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "x 1\ny 1\n");
}

/// Texts of few words, which repeat in whole or in part.
fn words(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "",
        "\n",
        "\"",
        "{",
        "}",
        " ",
        "a",
        "requests_total",
        "code=\"200\",",
        "code=\"404\",",
        "le=\"0.5\"",
        "le=\"0.25\"",
        "0",
        "123456789012345678901234567890123456789",
        "9",
    ]);
    vec(word, 0..most).prop_map(|words| words.concat().into_bytes())
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => words(8),
        2 => vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..most).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => bytes(100_000).prop_map(Call::Write),
        1 => Just(Call::Take),
        9 => (bytes(1_100), 0_usize..5, bytes(1_100)).prop_map(|(b, l, a)| Call::Line(b, l, a)),
        9 => (words(5), 0_usize..2, words(3)).prop_map(|(b, l, mut a)| {
            a.push(b'\n');
            Call::Line(b, l, a)
        }),
    ]
}

proptest! {
    #[test]
    fn any_calls_decompress_to_the_input(
        blocks in vec(bytes(1_100), 1..5),
        calls in vec(call(), 0..60),
    ) {
        round_trip(&blocks, &calls);
    }

    #[test]
    fn similar_instances_decompress_to_the_input(
        count in 1_usize..6,
        family in vec(words(6), 1..120),
        lacking in vec(any::<u8>(), 1..50),
        values in vec(words(2), 1..20),
    ) {
        let mut calls = Vec::new();
        for i in 0..count * 2 {
            for (number, before) in family.iter().enumerate() {
                let chance = lacking[(i * 31 + number) % lacking.len()];
                if chance < 240 {
                    let mut after = values[usize::from(chance) % values.len()].clone();
                    after.push(b'\n');
                    calls.push(Call::Line(before.clone(), i / 2, after));
                }
            }
            if i % 3 == 2 {
                calls.push(Call::Write(b"# TYPE a counter\n".to_vec()));
            }
        }
        round_trip(&label_blocks(count), &calls);
    }
}
