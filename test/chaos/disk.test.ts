// The short form of what npm run chaos does to files and disks: full, read-only, locked, deleted, failing, torn,
// robbed of their power, and of an older version.

import { describe, expect, it } from 'vitest'
import {
  deletedFile,
  diskFull,
  ioErrors,
  lockedFile,
  type Refusals,
  readOnlyFile,
  stoppedInTransaction,
} from './disk.ts'
import type { Counts } from './fixtures/audit.ts'
import { powerCuts } from './powercut.ts'
import { slowDisk } from './slow.ts'
import { tornLogs } from './torn.ts'
import { earlierVersions, upgrade } from './upgrade.ts'

const MINUTES = { timeout: 120_000 }

function sound(counts: Counts): void {
  expect(counts).toMatchObject({ lost: 0, unmarked: 0, wrong: [] })
  expect(counts.stored).toBeGreaterThan(0)
}

function delivered(counts: Refusals): void {
  sound(counts)
  expect(counts.accepted).toBeGreaterThanOrEqual(counts.stored)
  expect(counts.refused).toBeGreaterThan(0)
}

describe.concurrent('calls are refused with what is wrong, and once it is right all is delivered', () => {
  it('the disk is full, also when the process is killed and started again', MINUTES, async () => {
    delivered(await diskFull())
  })

  it('the file is read-only', MINUTES, async () => {
    delivered(await readOnlyFile())
  })

  it('another process holds the lock', MINUTES, async () => {
    delivered(await lockedFile())
  })

  it.each(['SIGCONT', 'SIGKILL'] as const)(
    'another process is stopped inside a transaction, until %s',
    MINUTES,
    async (end) => {
      delivered(await stoppedInTransaction(end))
    },
  )

  it(
    'the file is deleted: nothing is confirmed later than 0.1 s after, and the rest is in what was deleted',
    MINUTES,
    async () => {
      delivered(await deletedFile())
    },
  )

  it('a third of all statements fails, on and off', MINUTES, async () => {
    delivered(await ioErrors('statements', 7))
  })

  it('a third of all store calls fails, on and off', MINUTES, async () => {
    delivered(await ioErrors('store', 7))
  })
})

it(
  'a disk that takes long for each fsync holds up nobody but who waits to hear that his mail is stored',
  MINUTES,
  async () => {
    const counts = await slowDisk(20, 700)
    sound(counts)
    expect(counts).toMatchObject({ accepted: 700, duplicates: 0 })
    // a log that somebody reads just then is begun anew by the next who writes
    expect(counts.waitedFor.length).toBeLessThan(3)
  },
)

describe.concurrent('what was confirmed is there', () => {
  it('after power cuts that leave what was synced and any part of the rest', MINUTES, async () => {
    const counts = await powerCuts(3, 7, 'retry')
    sound(counts)
    expect(counts.accepted).toBe(counts.stored)
  })

  it("after power cuts, and with onUncertain: 'fail' nothing comes twice", MINUTES, async () => {
    const counts = await powerCuts(2, 7, 'fail', 'of Node')
    sound(counts)
    expect(counts.duplicates).toBe(0)
    expect(counts.accepted + counts.givenUp).toBe(counts.stored)
  })

  it('before the tear, in a log that is torn or garbled', MINUTES, async () => {
    const counts = await tornLogs(12, 7)
    sound(counts)
    expect(counts.before).toBeGreaterThan(0)
    expect(counts.accepted).toBe(counts.stored)
  })

  it.each(earlierVersions())(
    'in a file of schema %i, though its upgrade is killed',
    MINUTES,
    async (version) => {
      const counts = await upgrade(version, 3, 7)
      sound(counts)
      expect(counts.accepted).toBe(counts.stored)
    },
  )
})
