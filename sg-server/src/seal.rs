//! Secrets at rest: the sealing key, and XChaCha20-Poly1305 with it.
//!
//! SigV4 needs the plain secret of an access key, so a hash cannot stand for it. The store holds sealed
//! bytes only. The sealing key lies beside the store, or in a systemd credential.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use sg_store::objects::Sealed;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Name of the systemd credential.
const CREDENTIAL: &str = "sealing.key";

/// The key, with the file that it is from. It is never shown.
pub struct SealingKey {
    cipher: XChaCha20Poly1305,
    file: PathBuf,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.file.display())
    }
}

/// A secret that this key does not open, or that somebody has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealing key does not open it")]
pub struct NotOpened;

impl SealingKey {
    /// Makes a new key in a file that must not exist yet. The file has mode 0600 and is on the disk afterwards.
    pub fn create(file: &Path) -> anyhow::Result<Self> {
        let bytes = random::<KEY_BYTES>()?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = || file.display().to_string();
        let mut opened = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .with_context(place)?;
        writeln!(opened, "{digits}").with_context(place)?;
        opened.sync_all().with_context(place)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
        Ok(Self::new(&bytes, file))
    }

    /// Reads the key, from a systemd credential where there is one and `file` does not exist.
    ///
    /// # Errors
    /// The file cannot be read, others than its owner can read it, or it is no key.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let file = match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) if !file.exists() => Path::new(&folder).join(CREDENTIAL),
            _ => file.to_owned(),
        };
        let place = || format!("the sealing key {}", file.display());
        let opened = fs::File::open(&file).with_context(place)?;
        let mode = std::os::unix::fs::MetadataExt::mode(&opened.metadata().with_context(place)?);
        if mode & 0o077 != 0 {
            bail!("{}: others can read it (mode {:03o}); `chmod 600` it", place(), mode & 0o777);
        }
        let text = io::read_to_string(io::Read::take(opened, 4096)).with_context(place)?;
        let Some(bytes) = from_hex(text.trim()) else {
            bail!("{}: it is not {} hex digits", place(), 2 * KEY_BYTES);
        };
        Ok(Self::new(&bytes, &file))
    }

    fn new(bytes: &[u8; KEY_BYTES], file: &Path) -> Self {
        Self { cipher: XChaCha20Poly1305::new(bytes.into()), file: file.to_owned() }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Seals a secret. `name` belongs to it: the sealed bytes open under the same name only.
    pub fn seal(&self, name: &str, secret: &[u8]) -> anyhow::Result<Sealed> {
        let nonce = random::<NONCE_BYTES>()?;
        let payload = Payload { msg: secret, aad: name.as_bytes() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.map_err(|_| anyhow::anyhow!("the secret is too long to seal"))?);
        Ok(Sealed(bytes))
    }

    /// Opens a secret that was sealed under `name`.
    pub fn open(&self, name: &str, sealed: &Sealed) -> Result<Vec<u8>, NotOpened> {
        let (nonce, rest) = sealed.0.split_at_checked(NONCE_BYTES).ok_or(NotOpened)?;
        let payload = Payload { msg: rest, aad: name.as_bytes() };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| NotOpened)
    }
}

/// Random bytes from the kernel.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes)
}

fn from_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_and_name_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let key = SealingKey::create(&file).unwrap();
        let sealed = key.seal("AKIA1", b"secret").unwrap();
        assert!(!sealed.0.windows(6).any(|part| part == b"secret"));
        assert_eq!(SealingKey::read(&file).unwrap().open("AKIA1", &sealed).unwrap(), b"secret");
        assert_eq!(key.open("AKIA2", &sealed), Err(NotOpened));
        let other = SealingKey::create(&folder.path().join("b")).unwrap();
        assert_eq!(other.open("AKIA1", &sealed), Err(NotOpened));
        for place in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[place] ^= 1;
            assert_eq!(key.open("AKIA1", &changed), Err(NotOpened), "byte {place}");
        }
        assert_eq!(key.open("AKIA1", &Sealed(vec![0; 10])), Err(NotOpened));
    }

    #[test]
    fn equal_secrets_are_sealed_differently() {
        let folder = tempfile::tempdir().unwrap();
        let key = SealingKey::create(&folder.path().join("a")).unwrap();
        assert_ne!(key.seal("a", b"x").unwrap(), key.seal("a", b"x").unwrap());
    }

    #[test]
    fn a_key_that_is_none_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        SealingKey::create(&file).unwrap();
        let again = format!("{:#}", SealingKey::create(&file).unwrap_err());
        assert!(again.contains(file.to_str().unwrap()), "{again}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SealingKey::read(&file).unwrap_err().to_string();
        assert!(error.contains("mode 640"), "{error}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "00", &"g0".repeat(32), &"00".repeat(33)] {
            fs::write(&file, text).unwrap();
            let error = SealingKey::read(&file).unwrap_err().to_string();
            assert!(error.contains("64 hex digits"), "{text}: {error}");
        }
    }
}
