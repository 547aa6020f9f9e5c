//! End-to-end tests: the real binary, real peers.

mod admin;
mod bench;
mod cli;
mod completions;
mod console;
mod console_link;
mod console_many;
mod daemon;
mod demo;
mod doctor;
mod harness;
mod journal;
mod layers;
mod logs;
mod mailboxes;
mod metrics;
mod ordering;
mod picture;
mod power;
mod readme;
mod reconnecting;
mod serve;
mod service;
mod store;
mod supervised;
mod workers;
