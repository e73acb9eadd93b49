// Who is let in when, and that nobody is forgotten in line.

import { expect, it } from 'vitest'
import { Turnstile } from '../src/turnstile.ts'

/** Tasks that end when they are told to. */
function guests(turnstile: Turnstile) {
  const entered: number[] = []
  const leave = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  const inside = () => [...leave.keys()]
  const come = (n: number): Promise<number> =>
    turnstile.run(async () => {
      entered.push(n)
      await new Promise<void>((resolve, reject) => leave.set(n, { resolve, reject }))
      return n
    })
  const go = async (n: number, error?: Error) => {
    const one = leave.get(n)
    leave.delete(n)
    if (error) one?.reject(error)
    else one?.resolve()
    await nextTurn()
  }
  return { entered, inside, come, go }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

it('lets in as many as may be in, the others in order as those leave', async () => {
  const { entered, inside, come, go } = guests(new Turnstile(2))
  const all = Promise.all([1, 2, 3, 4].map(come))
  await nextTurn()
  expect(entered).toEqual([1, 2])
  await go(2)
  expect(inside()).toEqual([1, 3])
  await go(1)
  await go(3)
  await go(4)
  expect(await all).toEqual([1, 2, 3, 4])
})

it('passes on what a task throws, and goes on', async () => {
  const { come, go } = guests(new Turnstile(1))
  const first = come(1)
  const second = come(2)
  await nextTurn()
  const failed = expect(first).rejects.toThrow('no')
  await go(1, new Error('no'))
  await failed
  await go(2)
  expect(await second).toBe(2)
})

it('lets nobody in until enough have left when fewer may be in, and at once when more may', async () => {
  const turnstile = new Turnstile(3)
  const { entered, inside, come, go } = guests(turnstile)
  const all = Promise.all([1, 2, 3, 4, 5, 6, 7].map(come))
  await nextTurn()
  turnstile.allow(1)
  await go(1)
  await go(2)
  expect(inside()).toEqual([3])
  await go(3)
  expect(inside()).toEqual([4])
  turnstile.allow(3)
  await nextTurn()
  expect(inside()).toEqual([4, 5, 6])
  for (const n of [4, 5, 6, 7]) await go(n)
  expect(entered).toEqual([1, 2, 3, 4, 5, 6, 7])
  await all
})

it('serves who comes in any moment in which others leave', async () => {
  const turnstile = new Turnstile(2)
  let inside = 0
  let most = 0
  const visit = async (steps: number): Promise<void> => {
    most = Math.max(most, ++inside)
    for (let step = 0; step < steps; step++) await undefined
    inside--
  }
  for (let steps = 0; steps < 12; steps++) {
    for (let delay = 0; delay < 24; delay++) {
      const first = [turnstile.run(() => visit(steps)), turnstile.run(() => visit(steps))]
      for (let step = 0; step < delay; step++) await undefined
      // would never resolve if it were left in line
      await Promise.all([...first, turnstile.run(() => visit(0)), turnstile.run(() => visit(1))])
    }
  }
  expect(most).toBe(2)
})

it('is idle when nobody is inside or waits, and forgets nobody in a long line', async () => {
  const turnstile = new Turnstile(4)
  const seen: number[] = []
  const all = Array.from({ length: 10_000 }, (_, n) =>
    turnstile.run(async () => {
      seen.push(n)
    }),
  )
  await turnstile.idle()
  expect(seen).toEqual(Array.from({ length: 10_000 }, (_, n) => n))
  await Promise.all(all)
  await turnstile.idle()
})
