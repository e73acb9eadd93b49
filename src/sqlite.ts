// `steadymail/sqlite`: the durable store.

export type { SqliteConnection, SqliteDriver, SqliteStatement, SqlValue } from './stores/sqlite/driver.ts'
export { type SqliteOptions, sqliteStore } from './stores/sqlite/store.ts'
