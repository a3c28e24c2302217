//! Transactions: compares, then puts and deletes, all or nothing. The shape is that of etcd's `Txn`
//! without an else branch.

use std::collections::HashMap;

pub use crate::expected::Expected;
use crate::{error::TxnError, id::Revision, key::Key, objects::Stored};

/// The largest transaction that a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compares, and likewise puts and deletes: etcd's `--max-txn-ops`.
    pub ops: usize,
    /// Bytes of all keys and values: etcd's `--max-request-bytes`, less what its encoding adds.
    pub bytes: usize,
}

/// etcd's own, so that what the embedded store takes fits into any etcd.
impl Default for Limits {
    fn default() -> Self {
        Self { ops: 128, bytes: 3 << 19 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub key: String,
    pub expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put {
        key: String,
        value: Vec<u8>,
    },
    /// Deleting a key that is not there changes nothing.
    Delete {
        key: String,
    },
}

impl Op {
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// A transaction. No key is put or deleted twice: the last call for a key is the one that holds.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    compares: Vec<Compare>,
    ops: Vec<Op>,
    /// Where each key stands in `ops`.
    places: HashMap<String, usize>,
}

impl Txn {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object that must not be there yet.
    pub fn create<T: Stored>(&mut self, object: &T) -> &mut Self {
        let key = object.key();
        self.expect(&key, Expected::Absent).put(object)
    }

    /// Writes an object that was read, and that nobody may have changed since. `mod_revision`: as read.
    pub fn replace<T: Stored>(&mut self, object: &T, mod_revision: Revision) -> &mut Self {
        let key = object.key();
        self.expect(&key, Expected::At(mod_revision)).put(object)
    }

    /// Deletes an object that nobody may have changed since it was read.
    pub fn remove(&mut self, key: &Key, mod_revision: Revision) -> &mut Self {
        self.expect(key, Expected::At(mod_revision)).delete(key)
    }

    /// Writes an object, whether it is there or not.
    pub fn put<T: Stored>(&mut self, object: &T) -> &mut Self {
        self.put_raw(object.key().to_string(), object.encode())
    }

    /// Deletes a key, whether it is there or not.
    pub fn delete(&mut self, key: &Key) -> &mut Self {
        self.delete_raw(key.to_string())
    }

    /// Makes the transaction depend on a key that it may not write.
    pub fn expect(&mut self, key: &Key, expected: Expected) -> &mut Self {
        self.expect_raw(key.to_string(), expected)
    }

    pub fn put_raw(&mut self, key: String, value: Vec<u8>) -> &mut Self {
        self.set(Op::Put { key, value })
    }

    pub fn delete_raw(&mut self, key: String) -> &mut Self {
        self.set(Op::Delete { key })
    }

    pub fn expect_raw(&mut self, key: String, expected: Expected) -> &mut Self {
        let compare = Compare { key, expected };
        if !self.compares.contains(&compare) {
            self.compares.push(compare);
        }
        self
    }

    fn set(&mut self, op: Op) -> &mut Self {
        if let Some(&place) = self.places.get(op.key()) {
            self.ops[place] = op;
        } else {
            self.places.insert(op.key().to_owned(), self.ops.len());
            self.ops.push(op);
        }
        self
    }

    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether it writes nothing. Its compares are looked at all the same.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Keys and values in bytes.
    pub fn bytes(&self) -> usize {
        let compares = self.compares.iter().map(|compare| compare.key.len());
        let ops = self.ops.iter().map(|op| match op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        });
        compares.chain(ops).sum()
    }

    /// Refuses what is larger than a store takes.
    pub fn check(&self, limits: Limits) -> Result<(), TxnError> {
        let sizes = [
            ("compares", self.compares.len(), limits.ops),
            ("puts and deletes", self.ops.len(), limits.ops),
            ("bytes", self.bytes(), limits.bytes),
        ];
        match sizes.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(TxnError::TooLarge { what, found, limit }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_a_key_holds() {
        let mut txn = Txn::new();
        txn.put_raw("a".into(), vec![1]).put_raw("b".into(), vec![2]).delete_raw("a".into());
        let expected =
            [Op::Delete { key: "a".to_owned() }, Op::Put { key: "b".to_owned(), value: vec![2] }];
        assert_eq!(txn.ops(), expected);
    }

    #[test]
    fn limits_hold_for_each_kind() {
        let limits = Limits { ops: 2, bytes: 10 };
        let two = |txn: &mut Txn| {
            txn.put_raw("a".into(), vec![1]).delete_raw("b".into());
            txn.expect_raw("a".into(), Expected::Absent).expect_raw("b".into(), Expected::Present);
        };
        let mut txn = Txn::new();
        two(&mut txn);
        txn.expect_raw("a".into(), Expected::Absent);
        assert!(txn.check(limits).is_ok(), "a compare that stands there twice counts once");

        let what = |txn: &Txn| match txn.check(limits) {
            Err(TxnError::TooLarge { what, found, limit }) => (what, found, limit),
            other => panic!("{other:?}"),
        };
        let mut compares = txn.clone();
        compares.expect_raw("c".into(), Expected::Absent);
        assert_eq!(what(&compares), ("compares", 3, 2));
        let mut ops = txn.clone();
        ops.delete_raw("c".into());
        assert_eq!(what(&ops), ("puts and deletes", 3, 2));
        txn.put_raw("a".into(), vec![0; 7]);
        assert_eq!(what(&txn), ("bytes", 11, 10));
    }
}
