// The tables, and how a file becomes or is recognised as an outbox of this version.
// Migrations only go forward, each in the one transaction that opens the file; a newer file is refused.

import { SteadymailError } from '../../core/error.ts'
import type { SqliteConnection } from './driver.ts'

/** 'stdy': set as application_id, so that `file outbox.db` and we know what it is. */
export const APPLICATION_ID = 0x73746479

/**
 * Step n makes version n + 1 of what version n left; the first makes everything.
 * A step that has been released is never edited: files out there have run it.
 */
export const MIGRATIONS: readonly string[] = [
  `
  -- One row: counters that every transaction reads and writes once, and the owner lease.
  CREATE TABLE ledger (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_id INTEGER NOT NULL, last_fence INTEGER NOT NULL,
    owner TEXT, owner_fence INTEGER NOT NULL, owner_until INTEGER NOT NULL,
    waiting INTEGER NOT NULL, claimed INTEGER NOT NULL, parked INTEGER NOT NULL,
    accepted INTEGER NOT NULL, failed INTEGER NOT NULL,
    open_messages INTEGER NOT NULL, open_bytes INTEGER NOT NULL
  );
  INSERT INTO ledger VALUES (1, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0);

  -- id: that of its first delivery; its deliveries have id to id + recipients - 1, so they need no index.
  CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    ticket TEXT NOT NULL UNIQUE,
    key TEXT, message_id TEXT NOT NULL, mail_from TEXT NOT NULL, from_domain TEXT NOT NULL,
    size INTEGER NOT NULL, priority INTEGER NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    recipients INTEGER NOT NULL, on_uncertain TEXT, wire TEXT, meta TEXT,
    open INTEGER NOT NULL,
    failed INTEGER NOT NULL, -- any recipient has
    dead INTEGER NOT NULL,   -- any is a dead letter: the body stays
    settled_at INTEGER,
    outcome INTEGER NOT NULL -- 1: nobody acknowledged it yet
  );
  CREATE INDEX message_settled ON message (failed, settled_at) WHERE settled_at IS NOT NULL;
  CREATE INDEX message_outcome ON message (settled_at) WHERE outcome = 1;

  -- Apart, since bytes between the rows would make every claim read past them.
  CREATE TABLE body (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

  -- state: 0 waiting, 1 claimed, 2 parked, 3 accepted, 4 failed
  CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    state INTEGER NOT NULL,
    claim INTEGER NOT NULL,  -- fence of the claim it is under, 0 for none
    lane TEXT NOT NULL, sender TEXT NOT NULL, priority INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    sweep_at INTEGER,        -- expires_at while waiting or claimed: a claim leaves its index alone
    address TEXT NOT NULL, domain TEXT NOT NULL,
    attempts INTEGER NOT NULL, tries INTEGER NOT NULL, uncounted INTEGER NOT NULL,
    uncertain INTEGER NOT NULL, crashes INTEGER NOT NULL,
    created_at INTEGER NOT NULL, settled_at INTEGER, reason TEXT,
    shared INTEGER NOT NULL, -- 1: its message has other recipients
    erase INTEGER NOT NULL,  -- 1: its recipient was erased while it was claimed
    last TEXT
  );
  CREATE INDEX delivery_waiting ON delivery (lane, sender, priority, due_at) WHERE state = 0;
  CREATE INDEX delivery_beside ON delivery (message, lane, due_at) WHERE state = 0 AND shared = 1;
  CREATE INDEX delivery_claimed ON delivery (claim) WHERE state = 1;
  CREATE INDEX delivery_parked ON delivery (message) WHERE state = 2;
  CREATE INDEX delivery_sweep ON delivery (sweep_at) WHERE sweep_at IS NOT NULL;

  -- Records before the newest, which is in delivery.last: a first try that succeeds writes none.
  CREATE TABLE attempt (
    delivery INTEGER NOT NULL, n INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (delivery, n)
  ) WITHOUT ROWID;

  -- recipients: hash of the set; NULL once one of them was erased.
  CREATE TABLE message_key (
    key TEXT PRIMARY KEY, ticket TEXT NOT NULL, recipients TEXT, ended_at INTEGER
  ) WITHOUT ROWID;
  CREATE INDEX message_key_ended ON message_key (ended_at) WHERE ended_at IS NOT NULL;

  CREATE TABLE lane (key TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;

  -- What those who do not own the lease tell the owner; mail is summed up by queue, so it stays small.
  CREATE TABLE due_notice (
    lane TEXT NOT NULL, sender TEXT NOT NULL, priority INTEGER NOT NULL, due_at INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (lane, sender, priority)
  ) WITHOUT ROWID;
  CREATE TABLE notice (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
  `,
  `
  -- What turns said and the tables do not say yet: one row a turn (journal.ts), until somebody folds them in (fold.ts).
  CREATE TABLE journal (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
  -- Moves with every change but new mail and turns: what a process remembers of the tables stands until it does.
  ALTER TABLE ledger ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- New mail of the process that delivers, one row a commit, until it has ended or somebody needs the tables (fresh.ts).
  CREATE TABLE fresh (id INTEGER PRIMARY KEY, mail TEXT NOT NULL, bytes BLOB NOT NULL);
  -- By another name: a process of version 2 would take what is said of fresh mail for said of rows that are gone.
  ALTER TABLE journal RENAME TO turns;
  `,
  `
  -- As fresh, which an older process must not find any more: what is known of the mail, and the key to its bytes;
  -- NULL for bytes that version 3 left as they were.
  CREATE TABLE fresh_mail (id INTEGER PRIMARY KEY, mail TEXT NOT NULL, key BLOB);
  -- Enciphered: pages that are let go without being overwritten say nothing once the key is gone.
  CREATE TABLE fresh_bytes (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
  INSERT INTO fresh_mail SELECT id, mail, NULL FROM fresh;
  INSERT INTO fresh_bytes SELECT id, bytes FROM fresh;
  DROP TABLE fresh;
  `,
]

/** The schema version of the open file, 0 for an empty one; refuses what is not ours or newer. Changes nothing. */
export function schemaOf(db: SqliteConnection, file: string, known = MIGRATIONS.length): number {
  const read = (pragma: string): unknown => Object.values(db.prepare(`PRAGMA ${pragma}`).get() as object)[0]
  // in this order: another process may be making the tables, and it says whose they are in the same transaction
  const { n: tables } = db.prepare('SELECT count(*) AS n FROM sqlite_master').get() as { n: number }
  const application = read('application_id')
  if (application === 0 && tables === 0) return 0
  if (application !== APPLICATION_ID)
    throw new SteadymailError('STORE_SCHEMA', `${file}: this SQLite database is no steadymail outbox`)
  const found = read('user_version') as number
  if (found > known)
    throw new SteadymailError(
      'STORE_SCHEMA',
      `${file}: made by a newer steadymail (schema ${found}, this version knows ${known}): upgrade it`,
    )
  return found
}

/** Makes the open file an outbox of this version, or refuses it. `migrations` is for tests of upgrades. */
export function migrate(
  db: SqliteConnection,
  file: string,
  migrations: readonly string[] = MIGRATIONS,
): void {
  if (schemaOf(db, file, migrations.length) === migrations.length) return
  db.exec('BEGIN IMMEDIATE')
  try {
    // looked at again: another process may have been doing the same
    for (const step of migrations.slice(schemaOf(db, file, migrations.length))) db.exec(step)
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    db.exec(`PRAGMA user_version = ${migrations.length}`)
    db.exec('COMMIT')
  } catch (error) {
    try {
      db.exec('ROLLBACK')
    } catch {
      // SQLite rolls back by itself after some errors (full disk), and then there is nothing to roll back
    }
    throw error
  }
}
