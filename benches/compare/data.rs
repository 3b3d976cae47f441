//! The data of the bench: the same bytes on every machine, made once under `target/bench-data`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

/// Where the package is.
const BESIDE: &str = env!("CARGO_MANIFEST_DIR");
/// Different words of the text.
const WORDS: u32 = 100_000;
/// Words are drawn from a table of so many places.
const PLACES: u32 = 1 << 20;
/// Words of a line.
const LINE_WORDS: u32 = 12;

/// Where data is, and how much.
#[derive(Clone, Debug)]
pub struct Data {
    folder: PathBuf,
    scale: f64,
}

impl Data {
    /// Data that is so large, where 1 is what the comparisons name.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn at_scale(scale: f64) -> anyhow::Result<Self> {
        let root = std::env::var_os("CARGO_TARGET_DIR").map_or(Path::new(BESIDE).join("target"), PathBuf::from);
        let folder = root.join(format!("bench-data/scale-{scale}"));
        fs_err::create_dir_all(&folder)?;
        Ok(Data { folder, scale })
    }

    /// An empty place for what a run makes.
    ///
    /// # Errors
    /// When what was there cannot be removed.
    pub fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        if path.is_dir() {
            fs_err::remove_dir_all(&path)?;
        }
        Ok(path)
    }

    /// A path for something of the bench.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A number at this scale, at least 1.
    pub fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }

    /// Text whose words are spread as Zipf has it, in so many files of `bytes` together at scale 1.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self, name: &str, files: u64, bytes: u64) -> anyhow::Result<Vec<PathBuf>> {
        let words: Vec<Vec<u8>> = (0..WORDS).map(word).collect();
        let ranks: Vec<u32> = (0..PLACES).map(rank_at).collect();
        self.files(name, files, bytes, |random, out| {
            for _ in 0..LINE_WORDS {
                let rank = ranks[(random.next() >> 44) as usize];
                out.extend_from_slice(&words[rank as usize]);
                out.push(b' ');
            }
            out.push(b'\n');
        })
    }

    /// Records of 100 bytes like those of gensort's ASCII form: ten bytes of key, a number, filler.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn records(&self, name: &str, files: u64, bytes: u64) -> anyhow::Result<Vec<PathBuf>> {
        self.files(name, files, bytes, |random, out| {
            let number = random.next();
            out.extend((0..10).map(|_| b' ' + (random.next() >> 32) as u8 % 95));
            let filler = char::from(b'A' + (number % 26) as u8).to_string().repeat(52);
            out.extend_from_slice(format!("  {number:032X}  {filler}\r\n").as_bytes());
        })
    }

    /// Lines of 100 printable characters by chance, which do not compress.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn noise(&self, name: &str, files: u64, bytes: u64) -> anyhow::Result<Vec<PathBuf>> {
        self.files(name, files, bytes, |random, out| {
            for _ in 0..99 {
                out.push(b'!' + (random.next() >> 32) as u8 % 94);
            }
            out.push(b'\n');
        })
    }

    /// Files of lines, each file from a seed of its own; those that are there whole are kept.
    fn files(
        &self,
        name: &str,
        files: u64,
        bytes: u64,
        line: impl Fn(&mut Random, &mut Vec<u8>),
    ) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.path(name);
        fs_err::create_dir_all(&folder)?;
        let bytes = self.scaled(bytes) / files;
        let path = |file: u64| folder.join(format!("{file:02}"));
        for file in (0..files).filter(|file| !path(*file).exists()) {
            let made = folder.join(format!(".{file:02}"));
            let mut out = BufWriter::new(File::create(&made)?);
            let mut random = Random(file);
            let (mut written, mut text) = (0, Vec::new());
            while written < bytes {
                text.clear();
                line(&mut random, &mut text);
                out.write_all(&text)?;
                written += text.len() as u64;
            }
            out.flush()?;
            fs_err::rename(made, path(file))?;
        }
        Ok((0..files).map(path).collect())
    }
}

/// The word of a rank: the frequent ones are short.
fn word(rank: u32) -> Vec<u8> {
    let mut random = Random(u64::from(rank));
    let (mut left, mut word) = (rank, Vec::new());
    loop {
        word.push(b'a' + (left % 26) as u8);
        left /= 26;
        if left == 0 {
            break;
        }
        left -= 1;
    }
    word.extend((0..random.next() % 7).map(|_| b'a' + (random.next() % 26) as u8));
    word
}

/// Zipf's law in its simplest form: rank `r` comes with a probability in proportion to `1 / r`.
fn rank_at(place: u32) -> u32 {
    let share = (f64::from(place) + 0.5) / f64::from(PLACES);
    ((f64::from(WORDS).powf(share)) as u32).clamp(1, WORDS) - 1
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
