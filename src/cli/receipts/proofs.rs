//! `evanesce receipts key|prove|check|heads|consistency`: what a stranger needs to believe a receipt, and how
//! to check it. `check` needs no data directory and no server.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::CliError;
use crate::cli::output::{OutputArgs, WalkError, finish, print_all, print_json, report_as, write_to};
use crate::cli::table::{FieldList, TextTone, size, toned};
use crate::job::JobId;
use crate::plain_file::{self, LinkPolicy};
use crate::receipts::{
    self, HEADS_NAME, MOST_PROOF_BYTES, ProofLack, ReceiptKey, ReceiptProof, SignedTreeHead,
};

/// The arguments of `evanesce receipts prove`.
#[derive(Debug, clap::Args)]
pub struct ProveArgs {
    /// The id at the end of its polling URL.
    job: JobId,
    /// The file to write to; it must not be there yet. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The arguments of `evanesce receipts check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// What `prove` or `consistency` has written, or a server has answered.
    file: PathBuf,
    /// The public key of the server, 64 hexadecimal digits, as `evanesce receipts key` prints it.
    #[arg(long, value_name = "KEY")]
    key: ReceiptKey,
    #[command(flatten)]
    output: OutputArgs,
}

/// The arguments of `evanesce receipts heads`.
#[derive(Debug, clap::Args)]
pub struct HeadsArgs {
    /// Only those that were signed at this instant or later, such as 2026-01-31T08:30:00Z.
    #[arg(long, value_name = "INSTANT")]
    since: Option<Timestamp>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The arguments of `evanesce receipts consistency`.
#[derive(Debug, clap::Args)]
pub struct ConsistencyArgs {
    /// The entries of the earlier head.
    #[arg(long, value_name = "SIZE")]
    from: u64,
    /// The entries of the later head. Default: the last one.
    #[arg(long, value_name = "SIZE")]
    to: Option<u64>,
    /// The file to write to; it must not be there yet. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints the public key of a data directory.
pub fn key(data_dir: &Path, output: &OutputArgs) -> Result<(), CliError> {
    let key = receipts::public_key(data_dir).map_err(CliError::failed)?;
    let none = || CliError::failed("there is no receipts.key yet; the first start of the server makes it");
    let key = key.ok_or_else(none)?;
    if output.is_json() {
        return print_json(&json!({"public_key": key, "key_id": key.id(), "algorithm": "Ed25519"}));
    }
    let mut fields = FieldList::new();
    fields.field("public key", key.to_string());
    fields.field("key id", key.id().to_string());
    print_all([fields])
}

/// Writes the proof of an erasure.
pub fn prove(data_dir: &Path, args: &ProveArgs) -> Result<(), CliError> {
    let proof = receipts::prove_erasure(data_dir, args.job).map_err(CliError::failed)?;
    let (index, size) = (proof.erasure.leaf_index, proof.head.tree_size);
    let sentence =
        format!("the erasure of {} is entry {} of the {size} that the head commits to", args.job, index + 1);
    let document = json!({"job": args.job, "leaf_index": index, "tree_size": size});
    write_proof(&proof, args.out.as_deref(), &args.output, sentence, document)
}

/// Writes the proof that a head goes on from an earlier one.
pub fn consistency(data_dir: &Path, args: &ConsistencyArgs) -> Result<(), CliError> {
    let proof = receipts::prove_consistency(data_dir, args.from, args.to).map_err(|lack| match lack {
        ProofLack::NoSuchHead(_) => CliError::usage(lack),
        lack => CliError::failed(lack),
    })?;
    let (from, to) = (proof.earlier.tree_size, proof.later.tree_size);
    let sentence = format!("the tree of {to} entries begins with that of {from} entries");
    write_proof(&proof, args.out.as_deref(), &args.output, sentence, json!({"from": from, "to": to}))
}

/// Writes a proof: to standard output it alone, to a file with a sentence about it.
fn write_proof(
    proof: &impl Serialize,
    out: Option<&Path>,
    output: &OutputArgs,
    sentence: String,
    mut document: Value,
) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(proof).map_err(CliError::failed)?;
    write_to(out, |to| Ok(writeln!(to, "{text}")?))?;
    let Some(out) = out else { return Ok(()) };
    document["out"] = out.display().to_string().into();
    report_as(output, format_args!("{sentence}; its proof is in {}", out.display()), &document)
}

/// Checks a proof. The first line is the verdict.
pub fn check(args: &CheckArgs) -> Result<(), CliError> {
    let unreadable =
        |error: io::Error| CliError::usage(format!("cannot read {}: {error}", args.file.display()));
    let text = plain_file::read(&args.file, LinkPolicy::Follow, MOST_PROOF_BYTES).map_err(unreadable)?;
    let checked = ReceiptProof::parse(&text).and_then(|proof| {
        Ok(match proof {
            ReceiptProof::Erasure(proof) => {
                let receipt = proof.check(&args.key)?;
                let mut fields = FieldList::new();
                fields.field("job", receipt.job.to_string());
                fields.field("reason", receipt.reason.as_str().to_string());
                fields.field("gone at", receipt.gone_at.to_string());
                fields.field("files", receipt.files.to_string());
                fields.field("bytes", size(receipt.bytes));
                if let Some(key) = receipt.key {
                    fields.field("key", format!("destroyed at {}", key.destroyed_at));
                    fields.field("epoch", epoch_end(key.epoch, proof.epoch_ended()));
                }
                add_head(&mut fields, "head", &proof.head);
                let sentence = format!("the erasure of {} is among the receipts of this key", receipt.job);
                (sentence, fields, json!({
                    "kind": "erasure", "receipt": receipt, "epoch_ended": proof.epoch_ended(), "head": proof.head,
                }))
            }
            ReceiptProof::Consistency(proof) => {
                proof.check(&args.key)?;
                let mut fields = FieldList::new();
                add_head(&mut fields, "earlier", &proof.earlier);
                add_head(&mut fields, "later", &proof.later);
                let sentence =
                    "the later head goes on from the earlier one, and nothing was changed between them";
                let document = json!({"kind": "consistency", "earlier": proof.earlier, "later": proof.later});
                (sentence.to_owned(), fields, document)
            }
        })
    });
    match checked {
        Ok((sentence, _, mut document)) if args.output.is_json() => {
            document["verdict"] = "good".into();
            document["says"] = sentence.into();
            print_json(&document)
        }
        Ok((sentence, fields, _)) => {
            print_all([verdict(TextTone::Good, "good", &sentence), fields.to_string()])
        }
        Err(wrong) => {
            if args.output.is_json() {
                print_json(&json!({"verdict": "wrong", "says": wrong.to_string()}))?;
            } else {
                print_all([verdict(TextTone::Bad, "wrong", &wrong)])?;
            }
            Err(CliError::failed(format!("{} proves nothing: {wrong}", args.file.display())))
        }
    }
}

/// Says honestly whether a copy of the epoch's key may still be anywhere.
fn epoch_end(epoch: u64, ended: Option<Timestamp>) -> String {
    match ended {
        Some(at) => format!("{epoch}, whose key was destroyed at {at}"),
        None => format!("{epoch}, which had not ended: ask for another proof later"),
    }
}

fn verdict(tone: TextTone, word: &str, sentence: &impl Display) -> String {
    format!("{}: {sentence}", toned(tone, word))
}

fn add_head(fields: &mut FieldList, name: &str, head: &SignedTreeHead) {
    let SignedTreeHead { tree_size, timestamp, root_hash, .. } = head;
    fields.field(name, format!("{tree_size} entries, signed at {timestamp}, root {root_hash}"));
}

/// Lists the heads while reading them.
pub fn heads(data_dir: &Path, args: &HeadsArgs) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let is_json = args.output.is_json();
    let listed = list_heads(&data_dir.join(HEADS_NAME), args.since, is_json, &mut out);
    finish(listed, &mut out)
}

fn list_heads(
    path: &Path,
    since: Option<Timestamp>,
    is_json: bool,
    out: &mut impl Write,
) -> Result<(), WalkError> {
    if !is_json {
        let header = format!("{:>8}  {:<24}  {:<64}  KEY", "ENTRIES", "SIGNED", "ROOT");
        writeln!(out, "{}", toned(TextTone::Faint, header))?;
    }
    receipts::walk_heads(path, |head, _| {
        let SignedTreeHead { tree_size, timestamp, root_hash, key_id, .. } = head;
        if since.is_some_and(|since| *timestamp < since) {
            return Ok(());
        }
        if is_json {
            writeln!(out, "{}", serde_json::to_string(head).map_err(io::Error::from)?)?;
        } else {
            writeln!(out, "{tree_size:>8}  {timestamp:.3}  {root_hash}  {key_id}")?;
        }
        Ok(())
    })
}
