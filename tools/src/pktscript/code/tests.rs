use super::*;

fn check(code: &str) -> Result<(), CodeError> {
    let info = Names::from([
        ("tcpi_rtt".to_owned(), 7_000),
        ("tcpi_options".to_owned(), 5),
    ]);
    run(code, &info, &mut Names::new())
}

#[test]
fn what_holds() {
    for code in [
        "",
        "assert 1",
        "print(tcpi_rtt)",
        "assert 5000 <= tcpi_rtt <= 20000, 'srtt=%d us' % tcpi_rtt",
        "assert (tcpi_options & TCPI_OPT_SYN_DATA) == 0, tcpi_options",
        "x = 3; x += 4\nassert x == 7; assert not x == 8",
        "assert 2 + 3 * 4 == 14 and 7 // 2 == 3 or 0 # a remark",
        "assert tcpi_rtt == 7000 and \\\n  tcpi_options == 0x5",
    ] {
        assert_eq!(check(code), Ok(()), "{code}");
    }
}

#[test]
fn what_does_not_hold_shows_its_values() {
    let error = check("assert tcpi_rtt == 1; assert 0").expect_err("false");
    assert_eq!(error.to_string(), "assert tcpi_rtt == 1: tcpi_rtt = 7000");
}

#[test]
fn what_is_not_understood_is_named() {
    for (code, what) in [
        ("import os", "the code `import os`"),
        ("assert tcpi_new == 1", "the value `tcpi_new`"),
        ("assert f(1)", "the value `f`"),
        ("assert 1 +", "the code ``"),
        (
            "assert 1 / 0",
            "a number that is too large, or a division by zero",
        ),
        ("x += 1", "the unknown name `x`"),
        (
            "assert 99999999999999999999",
            "the number `99999999999999999999`",
        ),
    ] {
        let error = check(code).expect_err(code);
        assert_eq!(error, CodeError::Unsupported(what.to_owned()), "{code}");
    }
    assert!(check(&format!("assert {}", "(".repeat(100_000))).is_err());
    assert!(check(&format!("assert {}1", "-".repeat(100_000))).is_err());
    assert_eq!(
        check(&format!("assert {}1", "not ".repeat(100_000))),
        Ok(())
    );
}
