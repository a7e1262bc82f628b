use super::{Ahead, MIGRATIONS_MAX, NAME_BYTES_MAX, Next, Noted, Plan, SQL_BYTES_MAX};
use crate::migrate::MigrateError;
use crate::migration::Migration;
use crate::url::DatabaseKind::{self, Postgres, Sqlite};

const THREE: [Migration; 3] = [
    Migration::new(1, "items", "CREATE TABLE item (name TEXT)"),
    Migration::new(2, "prices", "ALTER TABLE item ADD COLUMN price BIGINT"),
    Migration::new(5, "pictures", "CREATE TABLE picture (png BLOB)")
        .on_postgres("CREATE TABLE picture (png BYTEA)"),
];

fn plan(migrations: &[Migration], kind: DatabaseKind) -> Result<Plan<'_>, MigrateError> {
    Plan::new("catalog", migrations, kind)
}

fn noted(migrations: &[Migration], kind: DatabaseKind) -> Vec<Noted> {
    let note = |it: &Migration| Noted::new(it.version(), it.name().into(), it.checksum(kind));
    migrations.iter().map(note).collect()
}

/// The number of the next one, and those that the database is ahead by, or the error's text.
fn look(
    migrations: &[Migration],
    noted: &[Noted],
    ahead: Ahead,
) -> Result<(Option<u32>, Vec<u32>), String> {
    let plan = plan(migrations, Sqlite).map_err(|why| why.to_string())?;
    let Next { migration, ahead } = plan.next(noted, ahead).map_err(|why| why.to_string())?;
    Ok((migration.map(Migration::version), ahead.iter().map(Noted::version).collect()))
}

/// The number of the next one where the database is not ahead, or the error's text.
fn next(migrations: &[Migration], noted: &[Noted]) -> Result<Option<u32>, String> {
    look(migrations, noted, Ahead::Refuse).map(|(next, _)| next)
}

#[test]
fn they_run_in_order_and_once() {
    for (ran, wanted) in [(0, Some(1)), (1, Some(2)), (2, Some(5)), (3, None)] {
        assert_eq!(next(&THREE, &noted(&THREE[..ran], Sqlite)), Ok(wanted));
    }
    assert_eq!(next(&[], &[]), Ok(None));
}

#[test]
fn one_that_was_changed_is_named() {
    let changed = [Migration::new(1, "items", "CREATE TABLE item (name BLOB)"), THREE[1], THREE[2]];
    let told = next(&changed, &noted(&THREE[..2], Sqlite)).unwrap_err();
    assert!(told.contains("migration 1 (items) of module 'catalog' was changed"), "{told}");
    let renamed = [Migration::new(1, "other words", THREE[0].sql(Sqlite)), THREE[1], THREE[2]];
    assert_eq!(next(&renamed, &noted(&THREE[..2], Sqlite)), Ok(Some(5)), "names are for people");
}

#[test]
fn one_that_is_behind_is_let_through_with_what_the_database_has_beyond_it() {
    let ran = noted(&THREE, Sqlite);
    assert_eq!(look(&THREE[..2], &ran, Ahead::Accept), Ok((None, vec![5])));
    assert_eq!(look(&THREE[..1], &ran, Ahead::Accept), Ok((None, vec![2, 5])));
    assert_eq!(look(&[], &ran, Ahead::Accept), Ok((None, vec![1, 2, 5])));
    assert_eq!(look(&THREE, &ran, Ahead::Accept), Ok((None, vec![])));
}

#[test]
fn one_that_is_behind_is_refused_where_what_it_has_did_not_run_so() {
    let refused = |list: &[Migration], ran: &[Migration]| {
        look(list, &noted(ran, Sqlite), Ahead::Accept).unwrap_err()
    };
    let changed = [Migration::new(1, "items", "CREATE TABLE item (name BLOB)")];
    let told = refused(&changed, &THREE);
    assert!(told.contains("migration 1 (items) of module 'catalog' was changed"), "{told}");
    let told = refused(&[THREE[0], THREE[2]], &THREE);
    assert!(told.contains("migration 2 (prices) of module 'catalog' has run"), "{told}");
    let told = refused(&THREE[..2], &[THREE[0], THREE[2]]);
    assert!(told.contains("migration 2 (prices) of module 'catalog' has not run, but 5"), "{told}");
}

#[test]
fn who_is_strict_is_told_what_only_the_database_has() {
    let told = next(&THREE[..1], &noted(&THREE[..2], Sqlite)).unwrap_err();
    assert!(told.contains("migration 2 (prices) of module 'catalog' has run"), "{told}");
    assert!(told.contains("another one has been here"), "{told}");
    let told = next(&[], &noted(&THREE[..1], Sqlite)).unwrap_err();
    assert!(told.contains("migration 1 (items)"), "{told}");
}

#[test]
fn one_that_comes_late_is_named() {
    let ran = [THREE[0], THREE[2]];
    let told = next(&THREE, &noted(&ran, Sqlite)).unwrap_err();
    assert!(
        told.contains("migration 2 (prices) of module 'catalog' has not run, but 5 has"),
        "{told}"
    );
}

#[test]
fn what_counts_is_the_sql_for_this_database() {
    assert_ne!(THREE[2].checksum(Sqlite), THREE[2].checksum(Postgres));
    assert_eq!(THREE[0].checksum(Sqlite), THREE[0].checksum(Postgres));
    let postgres = plan(&THREE, Postgres).unwrap();
    let ran = noted(&THREE, Postgres);
    assert_eq!(postgres.next(&ran, Ahead::Refuse).unwrap().migration, None);
    assert!(postgres.next(&noted(&THREE, Sqlite), Ahead::Refuse).is_err());
}

#[test]
fn line_ends_do_not_count() {
    let unix = Migration::new(1, "a", "CREATE TABLE a\n(b TEXT)");
    let windows = Migration::new(1, "a", "CREATE TABLE a\r\n(b TEXT)");
    assert_eq!(unix.checksum(Sqlite), windows.checksum(Sqlite));
}

#[test]
fn a_checksum_stays_the_same_in_every_build() {
    // SHA-256 of "abc", as FIPS 180-2 has it.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Migration::new(1, "a", "abc").checksum(Sqlite), expected);
}

#[test]
fn a_list_that_is_wrong_is_refused() {
    let one = |version| Migration::new(version, "a", "SELECT 1");
    for (list, expected) in [
        (vec![one(0)], "begin at 1"),
        (vec![one(1), one(1)], "1 follows 1"),
        (vec![one(3), one(2)], "2 follows 3"),
        (vec![Migration::new(1, "", "SELECT 1")], "the name of 1"),
        (vec![Migration::new(1, "a\nb", "SELECT 1")], "the name of 1"),
        (vec![Migration::new(7, "a", " \n")], "the SQL of 7"),
        (vec![Migration::new(7, "a", "SELECT '\0'")], "the SQL of 7"),
    ] {
        let told = next(&list, &[]).unwrap_err();
        assert!(told.contains(expected) && told.contains("'catalog'"), "{told}");
    }
    for module in ["", "a\0b"] {
        assert!(matches!(Plan::new(module, &THREE, Sqlite), Err(MigrateError::List { .. })));
    }
}

#[test]
fn bounds_hold_at_the_bound() {
    let text = |length: usize| &*"x".repeat(length).leak();
    let list = |length| (1..=length).map(|it| Migration::new(it, "a", "b")).collect::<Vec<_>>();
    let most = u32::try_from(MIGRATIONS_MAX).unwrap();
    assert!(plan(&list(most), Sqlite).is_ok());
    assert!(plan(&list(most + 1), Sqlite).is_err());
    assert!(plan(&[Migration::new(1, text(NAME_BYTES_MAX), "b")], Sqlite).is_ok());
    assert!(plan(&[Migration::new(1, text(NAME_BYTES_MAX + 1), "b")], Sqlite).is_err());
    assert!(plan(&[Migration::new(1, "a", text(SQL_BYTES_MAX))], Sqlite).is_ok());
    assert!(plan(&[Migration::new(1, "a", text(SQL_BYTES_MAX + 1))], Sqlite).is_err());
    assert!(Plan::new(text(NAME_BYTES_MAX), &[], Sqlite).is_ok());
    assert!(Plan::new(text(NAME_BYTES_MAX + 1), &[], Sqlite).is_err());
}
