//! Lays a new value over an old text: what is the same keeps its bytes.

use std::collections::HashMap;

use super::tree::{Inside, Member, Node, Tree};

/// `new` over `old`. `same` is `old` as it is written by whoever wrote `new`: what reads the same in both was not changed.
pub(super) fn graft(old: &Tree<'_>, same: &Tree<'_>, new: &Tree<'_>) -> String {
    let end = old.root.range.end;
    let mut graft = Graft { old, same, new, out: String::with_capacity(old.text.len()) };
    graft.out.push_str(&old.text[..old.root.range.start]);
    graft.value(&old.root, &same.root, &new.root);
    graft.out.push_str(&old.text[end..]);
    graft.out
}

struct Graft<'a> {
    old: &'a Tree<'a>,
    same: &'a Tree<'a>,
    new: &'a Tree<'a>,
    out: String,
}

impl<'a> Graft<'a> {
    fn value(&mut self, old: &'a Node, same: &'a Node, new: &'a Node) {
        if self.is_same(same, new) {
            self.out.push_str(self.old.of(old));
            return;
        }
        match (&old.inside, &same.inside, &new.inside) {
            (Inside::Object(members), Inside::Object(same), Inside::Object(new)) => {
                self.object(old, members, same, new);
            }
            (Inside::Array(items), Inside::Array(same), Inside::Array(new)) => {
                self.array(old, items, same, new);
            }
            _ => self.out.push_str(self.new.of(new)),
        }
    }

    fn is_same(&self, same: &Node, new: &Node) -> bool {
        self.same.of(same) == self.new.of(new)
    }

    fn object(&mut self, whole: &Node, old: &'a [Member], same: &'a [Member], new: &'a [Member]) {
        let places: HashMap<&str, usize> =
            old.iter().enumerate().map(|(at, member)| (member.name.as_str(), at)).collect();
        let same: HashMap<&str, &Node> =
            same.iter().map(|member| (member.name.as_str(), &member.value)).collect();
        let ranges: Vec<_> =
            old.iter().map(|member| (member.key.start, member.value.range.end)).collect();
        let mut new: Vec<&'a Member> = new.iter().collect();
        let place = |member: &Member| places.get(member.name.as_str()).copied();
        // Where members are taken out, the last one is put into the gap by whoever keeps them in a map: what stays stands
        // as it did.
        if new.iter().filter(|member| place(member).is_some()).count() < old.len() {
            new.sort_by_key(|member| place(member).unwrap_or(usize::MAX));
        }
        let from: Vec<_> = new.iter().map(|member| place(member)).collect();
        let colon = old.first().map_or(":", |member| self.colon(member));
        self.row(whole, &ranges, &from, |graft, at| {
            let member = new[at];
            match (from[at].map(|place| &old[place]), same.get(member.name.as_str())) {
                (Some(before), Some(same)) => {
                    graft.out.push_str(&graft.old.text[before.key.clone()]);
                    graft.out.push_str(graft.colon(before));
                    graft.value(&before.value, same, &member.value);
                }
                _ => {
                    graft.out.push_str(&graft.new.text[member.key.clone()]);
                    graft.out.push_str(colon);
                    graft.out.push_str(graft.new.of(&member.value));
                }
            }
        });
    }

    fn array(&mut self, whole: &Node, old: &'a [Node], same: &'a [Node], new: &'a [Node]) {
        let is_same = |(same, new): &(&Node, &Node)| self.is_same(same, new);
        let head = same.iter().zip(new).take_while(is_same).count();
        let shorter = same.len().min(new.len()) - head;
        let tail =
            same.iter().rev().zip(new.iter().rev()).take(shorter).take_while(is_same).count();
        let from: Vec<_> = (0..new.len())
            .map(|at| match new.len() - at {
                left if left <= tail => Some(old.len() - left),
                _ => Some(at).filter(|&at| at < old.len() - tail),
            })
            .collect();
        let ranges: Vec<_> = old.iter().map(|item| (item.range.start, item.range.end)).collect();
        self.row(whole, &ranges, &from, |graft, at| match from[at] {
            Some(place) => graft.value(&old[place], &same[place], &new[at]),
            None => graft.out.push_str(graft.new.of(&new[at])),
        });
    }

    /// Members or items between their brackets, with what stood between them. `old` is where they stood, `from` says of each new one
    /// which old one it was.
    fn row(
        &mut self,
        whole: &Node,
        old: &[(usize, usize)],
        from: &[Option<usize>],
        mut push: impl FnMut(&mut Self, usize),
    ) {
        let text = self.old.text;
        let range = &whole.range;
        let gap = |at: usize| &text[old[at].1..old[at + 1].0];
        let open = match old.first() {
            Some((first, _)) => &text[range.start..*first],
            None => &text[range.start..=range.start],
        };
        let close = match old.last() {
            Some((_, last)) => &text[*last..range.end],
            None => &text[range.end - 1..range.end],
        };
        if from.is_empty() {
            self.out.push_str(&text[range.start..=range.start]);
            self.out.push_str(&text[range.end - 1..range.end]);
            return;
        }
        // Of one alone nothing tells how several would stand, but a line of its own does.
        let usual = if old.len() > 1 { gap(0).to_owned() } else { format!(",{}", &open[1..]) };
        self.out.push_str(open);
        for (at, place) in from.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| from[before]);
            match (before, place) {
                (None, _) => {}
                (Some(Some(before)), Some(place)) if before + 1 == *place => {
                    self.out.push_str(gap(before));
                }
                (Some(_), _) => self.out.push_str(&usual),
            }
            push(self, at);
        }
        self.out.push_str(close);
    }

    /// What stands between a key and its value.
    fn colon(&self, member: &Member) -> &'a str {
        &self.old.text[member.key.end..member.value.range.start]
    }
}
