// A quota shared by a fleet: two mailers, two limiters, one Redis. Runs where a redis-server is installed.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import Bottleneck from 'bottleneck'
import { Redis } from 'ioredis'
import { memoryStore, wrapTransport } from 'steadymail'
import { smtpServer } from 'steadymail/testing'
import { expect, it, onTestFinished } from 'vitest'
import { bottleneckGate } from '../src/bottleneck.ts'

const installed = spawnSync('redis-server', ['--version']).status === 0
if (!installed) console.log('redis-server is not installed: the shared quota is not tested here')

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function redis(): Promise<number> {
  const port = await freePort()
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const server: ChildProcess = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void server.kill())
  for await (const line of server.stdout ?? []) if (String(line).includes('Ready to accept')) break
  return port
}

it.runIf(installed)('two processes’ mailers share one quota through Redis', async () => {
  const port = await redis()
  const server = await smtpServer()
  onTestFinished(() => server.close())
  const member = () => {
    const limiter = new Bottleneck({
      id: 'account',
      datastore: 'ioredis',
      clearDatastore: false,
      Redis,
      clientOptions: { host: '127.0.0.1', port },
      reservoir: 10,
    })
    const mailer = wrapTransport(server.url, {
      store: memoryStore(),
      egress: { gate: bottleneckGate(limiter) },
    })
    onTestFinished(async () => {
      await mailer.close({ timeout: 0 })
      await limiter.disconnect()
    })
    return { limiter, mailer }
  }
  const fleet = [member(), member()]
  await Promise.all(fleet.map(({ limiter }) => limiter.ready()))

  const send = (who: number, n: number) =>
    fleet[who]?.mailer.sendWithRetry({ from: 'a@sender.test', to: `${who}-${n}@example.test`, text: 'Hello' })
  const tenth = server.seen(() => server.messages.length === 10)
  const tickets = await Promise.all(Array.from({ length: 20 }, (_, n) => send(n % 2, n)))
  await tenth
  // the limiter says that nothing is left; whoever waits, waits in the outbox, and explain says for what
  expect(await fleet[0]?.limiter.currentReservoir()).toBe(0)
  const bindings = await Promise.all(
    tickets.map(async (ticket, n) => (await fleet[n % 2]?.mailer.explain(ticket?.id ?? ''))?.[0]?.binding),
  )
  expect(bindings.filter((b) => b === 'gate')).toHaveLength(10)

  await fleet[0]?.limiter.incrementReservoir(100)
  const outcomes = await Promise.all(tickets.map((ticket) => ticket?.settled()))
  expect(outcomes.map((o) => o?.status)).toEqual(Array(20).fill('accepted'))
  expect(server.messages).toHaveLength(20)
})
