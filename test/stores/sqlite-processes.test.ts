// Several processes do anything to one file, in random order, and some of them are killed: whatever happened, the
// file agrees with itself and with what each of them was told.

import { expect, it } from 'vitest'
import { audit, files, openRaw } from './fixtures/files.ts'
import { start, type Worker } from './fixtures/processes.ts'

const fresh = files()
const STEPS = 400

const words = (lines: readonly string[], first: string): string[][] =>
  lines.filter((line) => line.startsWith(`${first} `)).map((line) => line.split(' ').slice(1))

it.each([11, 12])(
  'anything that several processes do leaves a file that is true (seed %i)',
  async (seed) => {
    const file = fresh()
    const all: Worker[] = []
    const begin = () => {
      const n = all.length
      const worker = start('anything.ts', [file, `p${n}-`, String(seed * 100 + n), String(STEPS)])
      all.push(worker)
      return worker
    }
    const [first, second, third] = [begin(), begin(), begin()]
    await first.said('owner').catch(() => undefined) // it may have ended without
    await first.kill()
    begin()
    await second.said('cancelled').catch(() => undefined)
    await second.kill()
    begin()
    const left = [third, ...all.slice(3)]
    await Promise.all(left.map(({ ended }) => ended))

    const lines = all.flatMap((worker) => worker.lines)
    expect(lines.filter((line) => line.startsWith('wrong'))).toEqual([])
    for (const worker of left) expect(words(worker.lines, 'closed')).toHaveLength(1)
    audit(file)
    const db = openRaw(file)
    const rows = db.prepare('SELECT id, state FROM delivery').all() as { id: number; state: number }[]
    const keys = db.prepare(
      `SELECT k.key FROM message_key k JOIN message m ON m.ticket = k.ticket
       WHERE (k.ended_at IS NULL) <> (m.settled_at IS NULL)`,
    )
    expect(keys.all(), 'keys that end before or after their message').toEqual([])
    db.close()
    const states = new Map(rows.map(({ id, state }) => [String(id), state]))

    const accepted = words(lines, 'accepted').map(([id = '']) => id)
    expect(accepted.length).toBeGreaterThan(10)
    expect(new Set(accepted).size, 'accepted twice').toBe(accepted.length)
    expect(
      accepted.filter((id) => (states.get(id) ?? 3) !== 3),
      'accepted, and no longer',
    ).toEqual([])
    const under = words(lines, 'added').flatMap(([, key]) => (key === '-' ? [] : [key]))
    expect(new Set(under).size, 'one key, two messages').toBe(under.length)
    const cancelled = new Map(words(lines, 'cancelled').map(([id = '', at = '']) => [id, BigInt(at)]))
    expect(
      accepted.filter((id) => cancelled.has(id)),
      'cancelled, and sent',
    ).toEqual([])
    const late = words(lines, 'claimed').filter(([id = '', begun = '']) => {
      const at = cancelled.get(id)
      return at !== undefined && BigInt(begun) > at
    })
    expect(late, 'claimed after it was cancelled').toEqual([])
  },
  60_000,
)
