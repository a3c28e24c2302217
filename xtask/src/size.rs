//! `cargo xtask size`: how large the BPF programs are, against the table that is checked in.
//!
//! Instructions are those of all functions that a program can reach, as compiled; stack is that of the
//! deepest chain of calls, of which the kernel admits 512 bytes. Both creep up unnoticed, until the
//! verifier's limits are met; so a jump has to be looked at, and taken by `--update`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
};
use serde::{Deserialize, Serialize};

use crate::{build, workspace};

/// More than this above the table is a jump.
const TOLERANCE: f64 = 0.10;
/// MAX_BPF_STACK (include/linux/filter.h), of all functions that call each other.
const MAX_STACK: usize = 512;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the table anew
    #[arg(long)]
    update: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Size {
    instructions: usize,
    stack: usize,
}

type Table = BTreeMap<String, Size>;

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instructions, {} bytes of stack", self.instructions, self.stack)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let table = workspace::root().join("sg-ebpf/size.toml");
    let now = measure(&build::only_bpf()?.object)?;
    for (program, size) in &now {
        eprintln!("{program}: {size}");
    }
    if args.update {
        let text = format!(
            "# Measured by `cargo xtask size`; `cargo xtask size --update` writes it.\n{}",
            toml::to_string(&now)?
        );
        return fs::write(&table, text).context("cannot write sg-ebpf/size.toml");
    }
    let text = fs::read_to_string(&table).context("cannot read sg-ebpf/size.toml")?;
    let before: Table = toml::from_str(&text).context("sg-ebpf/size.toml")?;
    let jumps = jumps(&before, &now);
    if !jumps.is_empty() {
        bail!(
            "{}\nif that is worth it, say why in the commit that runs `cargo xtask size --update`",
            jumps.join("\n")
        );
    }
    Ok(())
}

/// In words.
fn jumps(before: &Table, now: &Table) -> Vec<String> {
    let mut jumps = Vec::new();
    for (program, size) in now {
        let Some(before) = before.get(program) else {
            jumps.push(format!("{program} is new: {size}"));
            continue;
        };
        if size.stack > MAX_STACK {
            jumps.push(format!("{program} takes more stack than {MAX_STACK} bytes: {size}"));
        }
        let larger = |now: usize, before: usize| now as f64 > before as f64 * (1.0 + TOLERANCE);
        if larger(size.instructions, before.instructions) || larger(size.stack, before.stack) {
            jumps.push(format!("{program} has grown by more than 10 %: {size}; it had {before}"));
        }
    }
    let gone = before.keys().filter(|program| !now.contains_key(*program));
    jumps.extend(gone.map(|program| format!("{program} is gone")));
    jumps
}

/// Where code is: section, and byte in it.
type Place = (SectionIndex, u64);

struct Function {
    name: String,
    is_program: bool,
    instructions: usize,
    stack: usize,
    calls: HashSet<Place>,
}

fn measure(object: &Path) -> Result<Table> {
    let data = fs::read(object).with_context(|| object.display().to_string())?;
    let file = object::File::parse(&*data).context("the BPF object")?;
    let mut functions: HashMap<Place, Function> = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let (Some(index), size @ 1..) = (symbol.section_index(), symbol.size()) else { continue };
        let section = file.section_by_index(index)?;
        let code = section.data_range(symbol.address(), size)?.context("a function's code")?;
        let mut targets = HashMap::new();
        for (at, relocation) in section.relocations() {
            if let RelocationTarget::Symbol(target) = relocation.target() {
                let target = file.symbol_by_index(target)?;
                if let Some(section) = target.section_index() {
                    targets.insert(at, (section, target.address()));
                }
            }
        }
        let start = symbol.address();
        let function = Function {
            name: symbol.name()?.to_owned(),
            is_program: section.name()? != ".text",
            instructions: code.len() / INSTRUCTION,
            stack: stack(code),
            calls: calls(code, (index, start), &targets),
        };
        functions.insert((index, start), function);
    }
    let programs = functions.iter().filter(|(_, function)| function.is_program);
    let sizes = programs.map(|(place, function)| {
        let mut reached = HashSet::new();
        let stack = deepest(&functions, *place, &mut reached)?;
        let instructions = reached.iter().map(|place| functions[place].instructions).sum();
        Ok((function.name.clone(), Size { instructions, stack }))
    });
    sizes.collect()
}

/// Stack of the deepest chain of calls from here; the kernel allows no recursion.
fn deepest(
    functions: &HashMap<Place, Function>,
    place: Place,
    reached: &mut HashSet<Place>,
) -> Result<usize> {
    let function = functions.get(&place).with_context(|| format!("no function at {place:?}"))?;
    reached.insert(place);
    let mut below = 0;
    for call in &function.calls {
        below = below.max(deepest(functions, *call, reached)?);
    }
    Ok(function.stack + below)
}

const INSTRUCTION: usize = 8;

// Opcodes and registers (include/uapi/linux/bpf.h).
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const MOVE: u8 = 0xbf;
const ADD_NUMBER: u8 = 0x07;
const FRAME: u8 = 10;
const CLASS: u8 = 0x07;
const LOAD: u8 = 0x01;
const STORE_NUMBER: u8 = 0x02;
const STORE: u8 = 0x03;

/// `(opcode, destination, source, offset, immediate)`
fn decode(code: &[u8]) -> (u8, u8, u8, i16, i32) {
    let offset = i16::from_le_bytes([code[2], code[3]]);
    let immediate = i32::from_le_bytes([code[4], code[5], code[6], code[7]]);
    (code[0], code[1] & 0xf, code[1] >> 4, offset, immediate)
}

/// Bytes of the frame that a function uses: the lowest address that it takes, rounded as Linux 6.1 does
/// (kernel/bpf/verifier.c, check_max_stack_depth); later kernels round up to 16.
fn stack(code: &[u8]) -> usize {
    let mut lowest = 0i32;
    // Registers that were set to the frame's end just now.
    let mut frame = HashSet::new();
    for code in code.chunks_exact(INSTRUCTION) {
        let (opcode, destination, source, offset, immediate) = decode(code);
        let base = match opcode & CLASS {
            LOAD => Some(source),
            STORE | STORE_NUMBER => Some(destination),
            _ => None,
        };
        if base == Some(FRAME) {
            lowest = lowest.min(i32::from(offset));
        }
        if opcode == ADD_NUMBER && frame.contains(&destination) {
            lowest = lowest.min(immediate);
        }
        if opcode == MOVE && source == FRAME {
            frame.insert(destination);
        } else {
            frame.remove(&destination);
        }
    }
    lowest.unsigned_abs().max(1).next_multiple_of(32) as usize
}

fn calls(code: &[u8], (section, start): Place, targets: &HashMap<u64, Place>) -> HashSet<Place> {
    let mut calls = HashSet::new();
    for (at, code) in (start..).step_by(INSTRUCTION).zip(code.chunks_exact(INSTRUCTION)) {
        let (CALL, _, PSEUDO_CALL, _, immediate) = decode(code) else { continue };
        // Counted in instructions from the next one; a relocation's from the symbol less one.
        let bytes = (i64::from(immediate) + 1) * INSTRUCTION as i64;
        let (section, from) = targets.get(&at).copied().unwrap_or((section, at));
        calls.insert((section, from.wrapping_add_signed(bytes)));
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(instructions: usize, stack: usize) -> Table {
        [("sg".to_owned(), Size { instructions, stack })].into()
    }

    #[test]
    fn only_a_jump_is_one() {
        assert!(jumps(&table(1000, 400), &table(1100, 440)).is_empty());
        assert!(jumps(&table(1000, 400), &table(500, 100)).is_empty());
        assert_eq!(jumps(&table(1000, 400), &table(1101, 400)).len(), 1);
        assert_eq!(jumps(&table(1000, 400), &table(1000, 448)).len(), 1);
        assert_eq!(jumps(&table(1000, 400), &Table::new()), ["sg is gone"]);
        assert_eq!(jumps(&Table::new(), &table(1, 1)).len(), 1);
    }

    fn code(instructions: &[[u8; INSTRUCTION]]) -> Vec<u8> {
        instructions.concat()
    }

    #[test]
    fn the_frame_is_as_large_as_its_lowest_use() {
        // r2 = r10; r2 += -40; exit
        let taken =
            code(&[[MOVE, 0xa2, 0, 0, 0, 0, 0, 0], [ADD_NUMBER, 2, 0, 0, 0xd8, 0xff, 0xff, 0xff]]);
        assert_eq!(stack(&taken), 64);
        // *(u64 *)(r10 - 16) = r1
        assert_eq!(stack(&code(&[[0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0]])), 32);
        // r2 += -40, of something else
        assert_eq!(stack(&code(&[[ADD_NUMBER, 2, 0, 0, 0xd8, 0xff, 0xff, 0xff]])), 32);
    }

    #[test]
    fn calls_are_found_with_and_without_a_relocation() {
        let (here, there) = (SectionIndex(1), SectionIndex(2));
        let call = |immediate: i32| {
            let [a, b, c, d] = immediate.to_le_bytes();
            code(&[[CALL, PSEUDO_CALL << 4, 0, 0, a, b, c, d]])
        };
        assert_eq!(calls(&call(3), (here, 80), &HashMap::new()), [(here, 112)].into());
        let targets = [(80, (there, 160))].into();
        assert_eq!(calls(&call(-1), (here, 80), &targets), [(there, 160)].into());
    }
}
