//! What a failed attempt leads to (design.md rule 4).

use crate::model::{
    Attempt, AttemptEnd, Backoff, MessageRecord, NackAction, OnFailure, QueueSettings, Retry,
    limits,
};

use super::dead_letter::Reason;

/// Workers lost in a row with the same message before the queue blocks: a message that kills its workers
/// must not go through all of them for ever, and five restarts of a healthy worker in a row are not
/// chance.
pub(super) const MAX_LOST_IN_A_ROW: u32 = 5;
/// The longest pause that a NACK may ask for, in milliseconds: one day.
const MAX_RETRY_DELAY_MS: u64 = 86_400_000;
/// How much of an error's detail is kept once a newer one is there, in bytes: the newest is what an
/// operator reads; sixteen full ones for each blocked queue would be too much RAM.
const OLD_DETAIL_BYTES: usize = 512;

/// What comes next for a message whose attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Delivered again at once.
    Again,
    /// Delivered again after so many milliseconds.
    After(u64),
    /// The queue stops; the text says why beyond the error, if there is more to say.
    Block(Option<String>),
    /// It goes to the dead-letter queue.
    DeadLetter(Reason),
    /// It is at its end.
    Drop,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) end: AttemptEnd,
    pub(super) action: NackAction,
    /// The pause that the worker asks for, in milliseconds.
    pub(super) delay_ms: Option<u64>,
}

/// Decides by the policy. `record` counts this failure already.
///
/// A lost worker says nothing of the message: it is delivered again at once and uses up no attempt, up
/// to `MAX_LOST_IN_A_ROW`. A NACK, and a lease that is over while the worker is still heard (it is stuck
/// on this message), use up one of `max_attempts` (the header's) or else of the policy's attempts.
pub(super) fn decide(
    settings: &QueueSettings,
    max_attempts: Option<u32>,
    record: &MessageRecord,
    failure: Failure,
    rng: &mut fastrand::Rng,
) -> Verdict {
    let policy = &settings.retry;
    let used_up = |why| match settings.on_failure {
        OnFailure::Block => Verdict::Block(why),
        OnFailure::DeadLetter => Verdict::DeadLetter(Reason::Attempts),
        OnFailure::Drop => Verdict::Drop,
    };
    match failure.end {
        AttemptEnd::WorkerLost if record.lost_in_a_row < MAX_LOST_IN_A_ROW => Verdict::Again,
        AttemptEnd::WorkerLost => used_up(Some(format!(
            "{} workers in a row were lost while they had this message",
            record.lost_in_a_row
        ))),
        AttemptEnd::Nack | AttemptEnd::LeaseOver => match failure.action {
            NackAction::Block => Verdict::Block(None),
            NackAction::DeadLetter => Verdict::DeadLetter(Reason::Rejected),
            NackAction::Retry if record.round >= max_attempts.unwrap_or(policy.attempts) => {
                used_up(None)
            }
            NackAction::Retry => Verdict::After(match failure.delay_ms {
                Some(ms) => ms.min(MAX_RETRY_DELAY_MS),
                None => pause_ms(policy, record.round, rng),
            }),
        },
    }
}

/// Counts a failed attempt in a message's record.
pub(super) fn count_failure(record: &mut MessageRecord, attempt: Attempt) {
    record.attempts = attempt.number;
    match attempt.end {
        AttemptEnd::WorkerLost => record.lost_in_a_row = record.lost_in_a_row.saturating_add(1),
        AttemptEnd::Nack | AttemptEnd::LeaseOver => {
            record.lost_in_a_row = 0;
            record.round = record.round.saturating_add(1);
        }
    }
    record.last_error = Some(attempt.error.clone());
    if let Some(newest) = record.failures.back_mut() {
        limits::clip(&mut newest.error.detail, OLD_DETAIL_BYTES);
    }
    if record.failures.len() >= limits::MAX_ATTEMPTS_KEPT {
        record.failures.remove(1);
    }
    record.failures.push_back(attempt);
}

/// The pause after the `round`th failure.
fn pause_ms(policy: &Retry, round: u32, rng: &mut fastrand::Rng) -> u64 {
    let base = match policy.backoff {
        Backoff::Fixed => policy.initial_ms,
        Backoff::Exponential => {
            let factor = 1u64.checked_shl(round.saturating_sub(1)).unwrap_or(u64::MAX);
            policy.initial_ms.saturating_mul(factor).min(policy.max_ms)
        }
    };
    let share = policy.jitter.clamp(0.0, 1.0) * rng.f64().mul_add(2.0, -1.0);
    // A pause is far below 2^53 ms, so the way through f64 is exact enough; `as` saturates.
    let jittered = (base as f64 * (1.0 + share)).round() as u64;
    jittered.min(MAX_RETRY_DELAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeliveryId, Generation, Revision, Timestamp, WorkError};

    const NACK: Failure =
        Failure { end: AttemptEnd::Nack, action: NackAction::Retry, delay_ms: None };

    fn policy(attempts: u32) -> QueueSettings {
        let retry = Retry { attempts, jitter: 0.0, ..Retry::default() };
        QueueSettings { retry, ..QueueSettings::default() }
    }

    fn after(rounds: u32, lost: u32) -> MessageRecord {
        MessageRecord { round: rounds, lost_in_a_row: lost, ..MessageRecord::default() }
    }

    fn decided(policy: &QueueSettings, record: &MessageRecord, failure: Failure) -> Verdict {
        decide(policy, None, record, failure, &mut fastrand::Rng::with_seed(1))
    }

    fn attempt(number: u32, end: AttemptEnd, detail: &str) -> Attempt {
        Attempt {
            number,
            delivery: DeliveryId { generation: Generation(1), number: u64::from(number) },
            worker: "w".to_owned(),
            started_at: Timestamp(0),
            ended_at: Timestamp(1),
            end,
            error: WorkError { detail: detail.to_owned(), ..WorkError::default() },
            revision: Revision(0),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = policy(99);
        let pauses = [1, 2, 3, 7, 80].map(|round| decided(&policy, &after(round, 0), NACK));
        assert_eq!(pauses, [1_000, 2_000, 4_000, 60_000, 60_000].map(Verdict::After));
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let policy = Retry { attempts: 9, ..Retry::default() };
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..1_000 {
            let pause = pause_ms(&policy, 1, &mut rng);
            assert!((900..=1_100).contains(&pause), "{pause}");
        }
    }

    #[test]
    fn the_headers_attempts_come_before_the_policys() {
        let mut rng = fastrand::Rng::with_seed(1);
        let one = after(1, 0);
        assert_eq!(decide(&policy(1), None, &one, NACK, &mut rng), Verdict::Block(None));
        assert_eq!(decide(&policy(1), Some(2), &one, NACK, &mut rng), Verdict::After(1_000));
        assert_eq!(decide(&policy(9), Some(1), &one, NACK, &mut rng), Verdict::Block(None));
    }

    #[test]
    fn a_worker_decides_its_own_pause_or_block() {
        let delay = Failure { delay_ms: Some(5), ..NACK };
        let block = Failure { action: NackAction::Block, ..NACK };
        assert_eq!(decided(&policy(2), &after(1, 0), delay), Verdict::After(5));
        assert_eq!(decided(&policy(9), &after(1, 0), block), Verdict::Block(None));
    }

    #[test]
    fn what_is_used_up_or_rejected_is_a_dead_letter_where_that_is_asked_for() {
        let buries = QueueSettings { on_failure: OnFailure::DeadLetter, ..policy(2) };
        let reject = Failure { action: NackAction::DeadLetter, ..NACK };
        assert_eq!(decided(&buries, &after(1, 0), NACK), Verdict::After(1_000));
        assert_eq!(decided(&buries, &after(2, 0), NACK), Verdict::DeadLetter(Reason::Attempts));
        assert_eq!(
            decided(&policy(9), &after(1, 0), reject),
            Verdict::DeadLetter(Reason::Rejected)
        );
        let block = Failure { action: NackAction::Block, ..NACK };
        assert_eq!(decided(&buries, &after(1, 0), block), Verdict::Block(None));
        let lost = Failure { end: AttemptEnd::WorkerLost, ..NACK };
        assert_eq!(decided(&buries, &after(0, 5), lost), Verdict::DeadLetter(Reason::Attempts));
    }

    #[test]
    fn lost_workers_use_up_no_attempt_but_not_for_ever() {
        let lost = Failure { end: AttemptEnd::WorkerLost, ..NACK };
        assert_eq!(decided(&policy(1), &after(0, 4), lost), Verdict::Again);
        assert!(matches!(decided(&policy(1), &after(0, 5), lost), Verdict::Block(Some(_))));
    }

    #[test]
    fn the_first_failure_and_the_newest_are_kept() {
        let mut record = MessageRecord::default();
        for number in 1..=20 {
            count_failure(&mut record, attempt(number, AttemptEnd::Nack, &"x".repeat(1_000)));
        }
        let numbers: Vec<u32> = record.failures.iter().map(|failure| failure.number).collect();
        assert_eq!(numbers.len(), limits::MAX_ATTEMPTS_KEPT);
        assert_eq!(
            (numbers.first(), numbers.get(1), numbers.last()),
            (Some(&1), Some(&6), Some(&20))
        );
        assert_eq!(record.round, 20);
        assert_eq!(record.failures.back().expect("kept").error.detail.len(), 1_000);
        assert_eq!(record.failures.front().expect("kept").error.detail.len(), OLD_DETAIL_BYTES);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let mut text = "żółw".to_owned();
        limits::clip(&mut text, 3);
        assert_eq!(text, "ż");
    }
}
