// The next of each queue, as remembered.

import { expect, it } from 'vitest'
import { type Head, Windows } from '../../src/stores/sqlite/windows.ts'

it('a queue that is sent as fast as it fills leaves nothing behind in memory', () => {
  const given: Head[] = []
  const windows = new Windows(() => ({ heads: given, complete: true }))
  for (let id = 1; id <= 10_000; id++) {
    windows.put('q', { id, due_at: 5 })
    if (id === 1) given.push({ id, due_at: 5 })
    expect(windows.first('q')?.id).toBe(id)
    windows.take('q', id)
  }
  expect(windows.first('q')).toBeUndefined()
  expect(given.length).toBeLessThan(200)
})
