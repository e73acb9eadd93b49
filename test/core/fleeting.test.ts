// What comes and goes with every message: as a Map and a Set, but what has gone dies young.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FleetingMap, FleetingSet } from '../../src/core/fleeting.ts'
import { program } from '../program.ts'

const run = promisify(execFile)

const steps = fc.array(
  fc.record({ key: fc.nat(40), does: fc.constantFrom('set', 'set', 'delete', 'delete', 'delete', 'clear') }),
  { maxLength: 400, minLength: 200 },
)

it('is as a Map and a Set, whatever is done to it', () => {
  fc.assert(
    fc.property(steps, (done) => {
      const map = new Map<number, number>()
      const set = new Set<number>()
      const fleetingMap = new FleetingMap<number, number>()
      const fleetingSet = new FleetingSet<number>()
      for (const [at, { key, does }] of done.entries()) {
        if (does === 'set') {
          map.set(key, at)
          fleetingMap.set(key, at)
          set.add(key)
          fleetingSet.add(key)
        } else if (does === 'delete') {
          expect(fleetingMap.delete(key)).toBe(map.delete(key))
          expect(fleetingSet.delete(key)).toBe(set.delete(key))
        } else if (at % 50 === 0) for (const each of [map, set, fleetingMap, fleetingSet]) each.clear()
        expect([fleetingMap.size, fleetingMap.get(key), fleetingMap.has(key)]).toEqual([
          map.size,
          map.get(key),
          map.has(key),
        ])
        expect([fleetingSet.size, fleetingSet.has(key)]).toEqual([set.size, set.has(key)])
      }
      expect([...fleetingMap]).toEqual([...map])
      expect([...fleetingMap.keys()]).toEqual([...map.keys()])
      expect([...fleetingMap.values()]).toEqual([...map.values()])
      expect([...fleetingSet]).toEqual([...set])
    }),
    { numRuns: 40 },
  )
})

it('what has gone does not grow old, though the map itself has', async () => {
  const script = program(new URL('./fixtures/churn.ts', import.meta.url))
  const grown = async (kind: string) =>
    Number((await run(process.execPath, ['--expose-gc', script, kind])).stdout)
  expect(await grown('FleetingMap')).toBeLessThan(1_000_000)
  expect(await grown('Map'), 'else V8 does it by itself now').toBeGreaterThan(2_000_000)
})
