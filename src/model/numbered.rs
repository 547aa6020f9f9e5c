//! Maps by numbers that the broker gives itself.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

/// By a number that nobody outside chooses: the keys need no protection from those that would choose them to collide.
pub type Numbered<K, V> = HashMap<K, V, FixedState>;
/// The same without values.
pub type Numbers<K> = HashSet<K, FixedState>;
