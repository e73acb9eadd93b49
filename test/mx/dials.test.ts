// One address that swallows connections keeps no more than a few of them, whatever names lead to it.

import net from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Dials } from '../../src/mx/dials.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'
import { a, mx } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

const DEAD = '127.0.9.9'

describe('hosts with different names that share one dead address', () => {
  let w: World
  let dialing: number
  let most: number

  beforeEach(async () => {
    w = await world()
    dialing = 0
    most = 0
    const connect = net.connect
    vi.spyOn(net, 'connect').mockImplementation(((options: net.NetConnectOpts, ready: () => void) => {
      if (!('host' in options) || options.host !== DEAD) return connect(options, ready)
      most = Math.max(most, ++dialing)
      return new net.Socket().once('close', () => {
        dialing--
      })
    }) as typeof net.connect)
  })

  afterEach(async () => {
    vi.restoreAllMocks()
    await w.close()
  })

  /** So many domains with a host of their own at the dead address. */
  function dead(n: number, ...further: string[]): string[] {
    return Array.from({ length: n }, (_, i) => {
      w.dns.zone.set(`mx.dead${i}.test`, [a(DEAD)])
      w.dns.zone.set(`dead${i}.test`, [mx(`mx.dead${i}.test`), ...further.map((host) => mx(host, 20))])
      return `a@dead${i}.test`
    })
  }

  it('take few of the sockets, and mail for others goes on', async () => {
    const server = await w.server('mx1.test', '127.0.9.1')
    w.domain('alive.test', 'mx1.test')
    const transport = w.transport({ maxConnections: 10, connectTimeout: '1s' })
    const lost = dead(12).flatMap((to) => Array.from({ length: 5 }, () => send(transport, { to })))
    while (dialing < 4) await new Promise(setImmediate)
    const went = await Promise.all(Array.from({ length: 20 }, () => send(transport, { to: 'a@alive.test' })))
    expect(went.flatMap(outcomes)).toEqual(new Array(20).fill('accepted'))
    expect(dialing).toBeGreaterThan(0) // the first of them were still unanswered then
    const answers = (await Promise.all(lost)).flatMap(outcomes)
    expect(answers).toEqual(new Array(60).fill('ETIMEDOUT greeting'))
    expect(most).toBe(4)
    expect(server.counts.messages).toBe(20)
    transport.close()
    while (transport.steadymail.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  })

  it('are delivered to by their next host', async () => {
    const server = await w.server('backup.test', '127.0.9.1')
    const transport = w.transport({ maxConnections: 10, connectTimeout: '300ms' })
    const answers = dead(12, 'backup.test').map((to) => send(transport, { to }))
    expect((await Promise.all(answers)).flatMap(outcomes)).toEqual(new Array(12).fill('accepted'))
    expect(most).toBeLessThanOrEqual(4)
    expect(server.counts.messages).toBe(12)
  })
})

describe('connection attempts to one address', () => {
  it('are four at a time; whoever waits goes on when one ends', async () => {
    const dials = new Dials(manualClock())
    for (let i = 0; i < 3; i++) dials.begin('192.0.2.1')
    expect(dials.isBusy('192.0.2.1')).toBe(false)
    dials.begin('192.0.2.1')
    expect([dials.isBusy('192.0.2.1'), dials.isBusy('192.0.2.2')]).toEqual([true, false])
    const went: number[] = []
    const waits = [1, 2].map((n) => dials.wait('192.0.2.1').then(() => went.push(n)))
    dials.end('192.0.2.1')
    await waits[0]
    expect(went).toEqual([1])
    for (let i = 0; i < 3; i++) dials.end('192.0.2.1')
    await waits[1]
    expect(dials.size).toBe(0)
  })

  it('that are not answered within five seconds are not waited for', async () => {
    const clock = manualClock()
    const dials = new Dials(clock)
    for (let i = 0; i < 4; i++) dials.begin('192.0.2.1')
    let isOver = false
    const wait = dials.wait('192.0.2.1').then(() => {
      isOver = true
    })
    await clock.advance(4_999)
    expect([isOver, dials.isSlow('192.0.2.1')]).toEqual([false, false])
    await clock.advance(1)
    await wait
    expect(dials.isSlow('192.0.2.1')).toBe(true)
  })
})
