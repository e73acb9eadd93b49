// The SQL of the hot path, prepared once. Every statement goes by an index that is named where SQLite might
// choose another: a plan that changes with statistics would be a slow queue one day.

import type { SqliteConnection, SqliteStatement } from './driver.ts'
import { DELIVERY, MESSAGE } from './rows.ts'

export type DeliveryStatements = ReturnType<typeof deliveryStatements>

export function deliveryStatements(db: SqliteConnection) {
  const queue = 'd.lane = ? AND d.sender = ? AND d.priority = ? AND d.state = 0'
  const joined = `SELECT ${DELIVERY}, ${MESSAGE} FROM delivery d`
  const any = (condition: string) =>
    `EXISTS (SELECT 1 FROM delivery d WHERE d.id BETWEEN message.id AND message.id + recipients - 1 AND ${condition})`
  return {
    insertKey: db.prepare('INSERT INTO message_key (key, ticket, recipients) VALUES (?, ?, ?)'),
    findKey: db.prepare('SELECT ticket, recipients FROM message_key WHERE key = ?'),
    // from the index alone
    heads: db.prepare(
      `SELECT d.id, d.due_at FROM delivery d INDEXED BY delivery_waiting WHERE ${queue}
       ORDER BY d.due_at, d.id LIMIT ?`,
    ),
    headPast: db.prepare(
      `SELECT d.id, d.due_at FROM delivery d INDEXED BY delivery_waiting WHERE ${queue} AND d.due_at <= ?
         AND d.message NOT IN (SELECT id FROM message WHERE ticket IN (SELECT value FROM json_each(?)))
       ORDER BY d.due_at, d.id LIMIT 1`,
    ),
    one: db.prepare(`${joined} CROSS JOIN message m ON m.id = d.message WHERE d.id = ?`),
    beside: db.prepare(
      `${joined} INDEXED BY delivery_beside CROSS JOIN message m ON m.id = d.message
       WHERE d.message = ? AND d.lane = ? AND d.state = 0 AND d.shared = 1 AND d.due_at <= ? AND d.sender = ? AND d.priority = ?
       ORDER BY d.due_at, d.id LIMIT ?`,
    ),
    expired: db.prepare(
      `${joined} INDEXED BY delivery_sweep CROSS JOIN message m ON m.id = d.message
       WHERE d.sweep_at <= ? AND d.state = 0 ORDER BY d.sweep_at, d.id LIMIT ?`,
    ),
    anyExpired: db.prepare(
      'SELECT 1 AS yes FROM delivery INDEXED BY delivery_sweep WHERE sweep_at <= ? AND state = 0 LIMIT 1',
    ),
    claim: db.prepare('UPDATE delivery SET state = 1, claim = ? WHERE id = ?'),
    settleOne: db.prepare(
      `UPDATE delivery SET state = ?, claim = ?, lane = ?, due_at = ?, expires_at = ?, sweep_at = ?, attempts = ?, tries = ?,
         uncounted = ?, uncertain = ?, crashes = ?, settled_at = ?, reason = ?, last = coalesce(?, last)
       WHERE id = ? AND claim = ? AND state = 1 AND erase = 0`,
    ),
    archive: db.prepare(
      `INSERT INTO attempt (delivery, n, record)
       SELECT d.id, coalesce((SELECT max(n) FROM attempt a WHERE a.delivery = d.id), 0) + 1, d.last FROM delivery d
       WHERE d.id = ? AND d.claim = ? AND d.state = 1 AND d.last IS NOT NULL`,
    ),
    flight: db.prepare(
      `SELECT d.message, m.recipients, m.size, m.key, m.ticket, d.last IS NOT NULL AS tried
       FROM delivery d CROSS JOIN message m ON m.id = d.message WHERE d.id = ?`,
    ),
    replace: db.prepare(
      `UPDATE delivery SET state = ?, claim = ?, lane = ?, due_at = ?, expires_at = ?, sweep_at = ?, address = ?, domain = ?,
         attempts = ?, tries = ?, uncounted = ?, uncertain = ?, crashes = ?, settled_at = ?, reason = ?, last = ?, erase = 0
       WHERE id = ?`,
    ),
    attempts: db.prepare('SELECT n, record FROM attempt WHERE delivery = ? ORDER BY n'),
    rewriteAttempt: db.prepare('UPDATE attempt SET record = ? WHERE delivery = ? AND n = ?'),
    endSingle: db.prepare(
      'UPDATE message SET open = 0, failed = ?, dead = ?, settled_at = ?, outcome = ? WHERE id = ?',
    ),
    countDown: db.prepare(
      'UPDATE message SET open = open - ?, failed = failed | ?, dead = dead | ? WHERE id = ?',
    ),
    progress: db.prepare('SELECT open, dead, settled_at FROM message WHERE id = ?'),
    end: db.prepare('UPDATE message SET settled_at = ?, outcome = ? WHERE id = ?'),
    reopen: db.prepare('UPDATE message SET settled_at = NULL, outcome = 0 WHERE id = ?'),
    judge: db.prepare(
      `UPDATE message SET failed = ${any('+d.state = 4')}, dead = ${any("+d.state = 4 AND d.reason <> 'cancelled'")}
       WHERE id = ?`,
    ),
    body: db.prepare('SELECT bytes FROM body WHERE id = ?'),
    hasBody: db.prepare('SELECT 1 AS yes FROM body WHERE id = ?'),
    wipe: db.prepare('DELETE FROM body WHERE id = ?'),
    endKey: db.prepare('UPDATE message_key SET ended_at = ? WHERE key = ? AND ticket = ?'),
    noticeDue: db.prepare(
      `INSERT INTO due_notice (lane, sender, priority, due_at, count) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET due_at = min(due_at, excluded.due_at), count = count + excluded.count`,
    ),
  } satisfies Record<string, SqliteStatement>
}
