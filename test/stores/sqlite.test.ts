import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, it } from 'vitest'
import { sqliteStore } from '../../src/sqlite.ts'
import { storeContract } from '../../src/testing/store-contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'steadymail-store-'))
afterAll(() => rmSync(folder, { recursive: true }))

let made = 0
storeContract(
  {
    name: 'sqlite',
    create: async () => sqliteStore(join(folder, `${++made}.db`)),
    reopen: async () => sqliteStore(join(folder, `${made}.db`)),
  },
  { describe, it },
)
