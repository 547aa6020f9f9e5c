use super::*;
use crate::admin::client::Endpoint;
use crate::admin::dto::{Revision, Seq};

#[tokio::test]
async fn drafts_are_written_and_deleted_in_the_order_of_asking() {
    let folder = tempfile::tempdir().unwrap();
    let drafts = Drafts::new(folder.path().to_owned());
    let endpoint = Endpoint::Unix(folder.path().join("nobody.sock"));
    let store = endpoint.to_string();
    let message = MessageRef { queue: QueueName::new("orders").unwrap(), seq: Seq(3) };
    let save = |version: u64| Effect::SaveDraft {
        message: message.clone(),
        version,
        draft: SavedDraft { bytes: Bytes::from(version.to_string()), base: Revision(0) },
    };
    for round in 0..50 {
        let (sender, mut actions) = mpsc::channel(8);
        let client = AdminClient::new(endpoint.clone(), "test");
        let mut runner = Runner::start(client, PathBuf::new(), drafts.clone(), sender, false);
        runner.run(save(round));
        if round % 2 == 0 {
            // The first is under way, or done.
            tokio::task::yield_now().await;
        }
        runner.run(save(round + 1));
        runner.run(Effect::LoadDraft(message.clone()));
        let loaded = loop {
            if let Action::DraftLoaded { draft, .. } = actions.recv().await.unwrap() {
                break draft.unwrap().unwrap();
            }
        };
        assert_eq!(loaded.bytes, (round + 1).to_string());
        runner.run(save(round + 2));
        tokio::task::yield_now().await;
        runner.run(Effect::DeleteDraft(message.clone()));
        runner.stop();
        let left = drafts.newest(&store, &message.queue, message.seq).unwrap();
        assert!(left.is_none(), "in round {round}");
    }
}

#[tokio::test]
async fn a_draft_is_copied_into_a_new_file_and_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(folder.path().join("nobody.sock"));
    let message = MessageRef { queue: QueueName::new("orders").unwrap(), seq: Seq(3) };
    let id = DraftId {
        store: endpoint.to_string(),
        queue: message.queue.clone(),
        seq: message.seq,
        revision: Revision(0),
    };
    let dir = folder.path().join("drafts");
    Drafts::new(dir.clone()).save(&id, b"typed before", Timestamp(1)).unwrap();
    let (sender, mut actions) = mpsc::channel(8);
    let client = AdminClient::new(endpoint, "test");
    let mut runner = Runner::start(client, PathBuf::new(), Drafts::new(dir), sender, false);
    let file = folder.path().join("copy");
    let copy = || Effect::CopyDraft(message.clone(), file.clone());
    let mut told = async |runner: &mut Runner, effect| {
        runner.run(effect);
        loop {
            match actions.recv().await.unwrap() {
                Action::FileWritten { result } => break result,
                Action::DraftRemoved { left, by_hand, .. } => {
                    break Ok(format!("{left:?} {by_hand}"));
                }
                _ => {}
            }
        }
    };
    let said = told(&mut runner, copy()).await.unwrap();
    assert!(said.starts_with("12 bytes written to"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"typed before");
    assert!(told(&mut runner, copy()).await.is_err(), "it is there already");
    let thrown = told(&mut runner, Effect::ThrowDraftAway(message.clone())).await;
    assert_eq!(thrown.unwrap(), "Ok(false) true");
    let said = told(&mut runner, copy()).await.unwrap_err();
    assert_eq!(said, "there is no draft of orders #3 any more");
}
