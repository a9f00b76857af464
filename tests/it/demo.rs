//! The demo is what people see first: it must work, and leave nothing behind.

use crate::harness::process::run_to_end;

#[tokio::test]
async fn the_demo_kills_the_leader_and_ends_with_one_winner_and_one_log() {
    let temporary = tempfile::tempdir().expect("make a temporary folder");
    let folder = temporary.path().to_str().expect("its name is text");
    // Settings of whoever runs it don't reach the nodes of the demo.
    let env = [("TMPDIR", folder), ("PORT", "no port"), ("NODE_ID", "9")];
    let output = run_to_end(&["demo"], &env).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}\n{errors}");
    let summary = told.split_once("== summary").expect("it ends with a summary").1;
    for line in ["winner ", "killed with -9 ", "new leader ", "gap ", "restarted ", "same log "] {
        assert!(summary.contains(line), "{line} in the summary:\n{summary}");
    }
    for once in ["room-opened", "battle-ended", "BATTLE_END"] {
        assert_eq!(told.matches(once).count(), 1, "{once} is told once:\n{told}");
    }
    let left: Vec<_> = temporary.path().read_dir().expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
}
