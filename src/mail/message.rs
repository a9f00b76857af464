//! The mail that brings a verification code (contract 9): subject, plain text and HTML.

use serverv2_machine::Purpose;

/// What the mail says.
pub(super) struct Letter {
    /// The subject.
    pub(super) subject: String,
    /// For readers without HTML.
    pub(super) text: String,
    /// The same for all others.
    pub(super) html: String,
}

/// The letter with this code; `player_name` is for the greeting, if it is known.
pub(super) fn letter(code: &str, purpose: Purpose, player_name: Option<&str>) -> Letter {
    let purpose_text = purpose_text(purpose);
    let subject = format!("{purpose_text}验证码 - 阿卡迪亚永恒");
    let greeting = match player_name {
        Some(name) => format!("您好，{name}："),
        None => "您好：".into(),
    };
    let text = format!(
        include_str!("code.txt"),
        greeting = greeting,
        purpose_text = purpose_text,
        code = code
    );
    let html = format!(
        include_str!("code.html"),
        subject = subject,
        greeting = escaped(&greeting),
        purpose_text = purpose_text,
        code = code
    );
    Letter { subject, text, html }
}

fn purpose_text(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Bind => "绑定邮箱",
        Purpose::Recover => "恢复玩家ID",
    }
}

/// Players choose their names: what means something in HTML must not.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_the_contracts_subject() {
        for (purpose, subject) in [
            (Purpose::Bind, "绑定邮箱验证码 - 阿卡迪亚永恒"),
            (Purpose::Recover, "恢复玩家ID验证码 - 阿卡迪亚永恒"),
        ] {
            let letter = letter("123456", purpose, None);
            assert_eq!(letter.subject, subject);
            for part in [&letter.text, &letter.html] {
                assert!(part.contains("123456") && part.contains(purpose_text(purpose)), "{part}");
            }
        }
    }

    #[test]
    fn a_players_name_is_a_name_and_never_markup_or_a_placeholder() {
        let letter = letter("123456", Purpose::Bind, Some("<b>{code}&\"'"));
        assert!(letter.text.contains("您好，<b>{code}&\"'："));
        assert!(letter.html.contains("您好，&lt;b&gt;{code}&amp;&quot;&#39;："));
        assert!(!letter.html.contains("<b>{"));
    }
}
