// Queues that people put before nodemailer today, over the same work: BullMQ on Redis, pg-boss on PostgreSQL. Their
// servers are started where they are installed, and they themselves come from npm into a scratch folder, so that
// nobody has to have them. Each is given the settings with which it was fastest here; see `settings`.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Figures, mimeMail, pool } from './w1.ts'

export interface Rival {
  readonly name: string
  readonly settings: string
  run(port: number, n: number): Promise<Figures>
  close(): Promise<void>
}

/** A bulk call's worth: neither gains by more. */
const ADDED_AT_ONCE = 500
const INSTALL_MS = 120_000
const START_MS = 20_000

type Mail = ReturnType<typeof mimeMail>

/** Those that can run here, and a line for each that cannot. */
export async function findRivals(): Promise<{ readonly rivals: Rival[]; readonly absent: string[] }> {
  const absent: string[] = []
  const rivals: Rival[] = []
  const scratch = mkdtempSync(join(tmpdir(), 'steadymail-rivals-'))
  process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
  const redis = onPath('redis-server')
  const postgres = postgresFolder()
  if (redis === undefined) absent.push('BullMQ: redis-server is not installed')
  if (postgres === undefined) absent.push('pg-boss: postgres is not installed')
  const wanted = [
    ...(redis === undefined ? [] : ['bullmq', 'ioredis']),
    ...(postgres === undefined ? [] : ['pg-boss@10']),
  ]
  if (wanted.length === 0) return { rivals, absent }
  const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  const npm = spawnSync('npm', ['install', '--prefix', scratch, ...options, ...wanted], {
    stdio: 'ignore',
    timeout: INSTALL_MS,
  })
  if (npm.status !== 0) return { rivals, absent: [...absent, `${wanted.join(', ')}: npm install failed`] }
  const require = createRequire(join(scratch, 'none.cjs'))
  for (const [name, begin] of [
    ['BullMQ', redis === undefined ? undefined : () => bullmq(require, scratch)],
    ['pg-boss', postgres === undefined ? undefined : () => pgBoss(require, scratch, postgres)],
  ] as const) {
    if (begin === undefined) continue
    try {
      rivals.push(await begin())
    } catch (error) {
      absent.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return { rivals, absent }
}

function onPath(command: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, command))
    .find((file) => existsSync(file))
}

/** Where initdb and postgres are: Debian keeps them off the path. */
function postgresFolder(): string | undefined {
  const versions = '/usr/lib/postgresql'
  const debian = existsSync(versions) ? readdirSync(versions).map((v) => join(versions, v, 'bin')) : []
  const folders = [...debian.sort().reverse(), ...(process.env.PATH ?? '').split(':')]
  return folders.find((folder) => ['initdb', 'postgres'].every((one) => existsSync(join(folder, one))))
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

async function until(what: string, there: () => Promise<unknown>): Promise<void> {
  const began = performance.now()
  for (;;) {
    try {
      await there()
      return
    } catch (error) {
      if (performance.now() - began > START_MS) throw new Error(`${what} does not answer: ${String(error)}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

async function stop(server: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => server.once('close', resolve))
  server.kill('SIGINT')
  await ended
}

/** Adds every mail, and waits until the worker has sent as many. */
async function measure(
  n: number,
  port: number,
  begin: (send: (mail: Mail) => Promise<void>) => Promise<{
    add(mails: readonly Mail[]): Promise<unknown>
    end(): Promise<unknown>
  }>,
): Promise<Figures> {
  const transporter = pool(port)
  await transporter.sendMail(mimeMail(0) as never)
  let sent = 0
  let all: () => void = () => undefined
  const done = new Promise<void>((resolve) => {
    all = resolve
  })
  const queue = await begin(async (mail) => {
    await transporter.sendMail(mail as never)
    if (++sent === n) all()
  })
  const mails = Array.from({ length: n }, (_, i) => mimeMail(i))
  const cpu = process.cpuUsage()
  const began = performance.now()
  const adding: Promise<unknown>[] = []
  for (let at = 0; at < n; at += ADDED_AT_ONCE) adding.push(queue.add(mails.slice(at, at + ADDED_AT_ONCE)))
  await Promise.all(adding)
  const stored = performance.now()
  await done
  const ended = performance.now()
  const used = process.cpuUsage(cpu)
  await queue.end()
  transporter.close()
  return {
    rate: (n / (ended - began)) * 1000,
    enqueue: (n / (stored - began)) * 1000,
    cpu: (used.user + used.system) / n,
  }
}

interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    waitUntilReady(): Promise<unknown>
    addBulk(jobs: readonly object[]): Promise<unknown>
    obliterate(options: object): Promise<unknown>
    close(): Promise<unknown>
  }
  readonly Worker: new (
    name: string,
    process: (job: { readonly data: Mail }) => Promise<void>,
    options: object,
  ) => { waitUntilReady(): Promise<unknown>; close(): Promise<unknown> }
}

const BULLMQ_CONCURRENCY = 20

async function bullmq(require: NodeJS.Require, scratch: string): Promise<Rival> {
  const { Queue, Worker } = require('bullmq') as BullMq
  const { version } = require('bullmq/package.json') as { version: string }
  const port = await freePort()
  const folder = join(scratch, 'redis')
  mkdirSync(folder)
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '']
  const aof = ['--appendonly', 'yes', '--appendfsync', 'everysec']
  const server = spawn('redis-server', [...settings, ...aof], { stdio: 'ignore' })
  process.on('exit', () => server.kill('SIGKILL'))
  const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null }
  let runs = 0
  await until('redis-server', async () => {
    const probe = new Queue('probe', { connection: { ...connection, retryStrategy: () => null } })
    await probe.waitUntilReady().finally(() => probe.close().catch(() => undefined))
  })
  return {
    name: `BullMQ ${version}`,
    settings: `addBulk of ${ADDED_AT_ONCE}, worker concurrency ${BULLMQ_CONCURRENCY}, removeOnComplete, 5 attempts with exponential back-off; Redis with an append-only file synced every second. A power cut loses up to a second of mail`,
    run: (sink, n) =>
      measure(n, sink, async (send) => {
        const name = `mail-${++runs}`
        const attempts = { attempts: 5, backoff: { type: 'exponential', delay: 1_000 } }
        const queue = new Queue(name, {
          connection,
          defaultJobOptions: { ...attempts, removeOnComplete: true },
        })
        const worker = new Worker(name, ({ data }) => send(data), {
          connection,
          concurrency: BULLMQ_CONCURRENCY,
        })
        await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()])
        return {
          add: (mails) => queue.addBulk(mails.map((data) => ({ name: 'mail', data }))),
          end: async () => {
            await worker.close()
            await queue.obliterate({ force: true })
            await queue.close()
          },
        }
      }),
    close: () => stop(server),
  }
}

interface Boss {
  on(event: 'error', listener: (error: unknown) => void): void
  start(): Promise<unknown>
  stop(options: object): Promise<unknown>
  createQueue(name: string): Promise<unknown>
  insert(jobs: readonly object[]): Promise<unknown>
  work(
    name: string,
    options: object,
    handler: (jobs: readonly { readonly id: string; readonly data: Mail }[]) => Promise<unknown>,
  ): Promise<unknown>
  fail(name: string, id: string): Promise<unknown>
  offWork(name: string): Promise<unknown>
}

const BATCH = 500
const WORKERS = 2

async function pgBoss(require: NodeJS.Require, scratch: string, bin: string): Promise<Rival> {
  const PgBoss = require('pg-boss') as new (options: object) => Boss
  const { version } = require('pg-boss/package.json') as { version: string }
  const port = await freePort()
  const folder = join(scratch, 'postgres')
  mkdirSync(folder)
  // PostgreSQL does not run as root
  const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout)
  const user = process.getuid?.() === 0 ? { uid: id('-u'), gid: id('-g') } : undefined
  if (user !== undefined) for (const one of [scratch, folder]) chownSync(one, user.uid, user.gid)
  const quiet = { stdio: 'ignore', cwd: scratch, ...user } as const
  const made = spawnSync(join(bin, 'initdb'), ['-D', folder, '-A', 'trust', '-U', 'postgres'], quiet)
  if (made.status !== 0) throw new Error('initdb failed')
  const listen = ['-D', folder, '-p', String(port), '-k', scratch, '-h', '127.0.0.1']
  const server = spawn(join(bin, 'postgres'), listen, quiet)
  process.on('exit', () => server.kill('SIGQUIT'))
  let boss: Boss | undefined
  await until('postgres', async () => {
    const one = new PgBoss({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres', max: 10 })
    one.on('error', () => undefined)
    await one.start()
    boss = one
  })
  return pgBossOn(boss as unknown as Boss, `pg-boss ${version}`, server)
}

function pgBossOn(boss: Boss, name: string, server: ChildProcess): Rival {
  let runs = 0
  return {
    name,
    settings: `insert of ${ADDED_AT_ONCE}, ${WORKERS} workers that fetch ${BATCH} and poll every 0.5 s, 5 retries with back-off; PostgreSQL with its defaults, every commit synced. A kill repeats up to ${WORKERS * BATCH} mails`,
    run: (sink, n) =>
      measure(n, sink, async (send) => {
        const queue = `mail-${++runs}`
        await boss.createQueue(queue)
        for (let worker = 0; worker < WORKERS; worker++)
          await boss.work(queue, { batchSize: BATCH, pollingIntervalSeconds: 0.5 }, (jobs) =>
            // a batch ends as a whole: who is refused must not repeat the others
            Promise.all(jobs.map(({ id, data }) => send(data).catch(() => boss.fail(queue, id)))),
          )
        return {
          add: (mails) =>
            boss.insert(
              mails.map((data) => ({ name: queue, data, retryLimit: 5, retryDelay: 1, retryBackoff: true })),
            ),
          end: () => boss.offWork(queue),
        }
      }),
    close: async () => {
      await boss.stop({ graceful: false, wait: false })
      await stop(server)
    },
  }
}
