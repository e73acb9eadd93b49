// Where the CPU of sending goes: W1 under V8's sampling profiler, summed up by part. Needs a built package.
//   npx tsx bench/profile.ts                          sqlite raw and memory raw, 20,000 messages
//   npx tsx bench/profile.ts 'sqlite, MIME' 5000      one way
// A profile to look at (Chrome's or VS Code's viewer) is left in /tmp. Sampling costs some 10 % itself.

import { readFileSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { baseline, cleanUp, startSink, ways } from './w1.ts'

interface Node {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: readonly number[]
}

interface Profile {
  readonly nodes: readonly Node[]
  readonly samples?: readonly number[]
  readonly timeDeltas?: readonly number[]
}

const chosen = process.argv[2] === undefined ? ['memory, raw', 'sqlite, raw'] : [process.argv[2]]
const messages = Number(process.argv[3] ?? 20_000)
const TOP = 16

/** Which part of the whole a source file is; what is bundled says so above each module's code. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/^src\/stores\/sqlite\//, 'our SQLite store'],
  [/^src\/(stores\/|core\/heap)/, 'our memory store and its rules'],
  [
    /^src\/(outbox|flights|lanes|unsaved-lanes|permits|grouping|egress|owner|recovery|conclude|tell|outcomes|events|breath|pace|clock)\.ts/,
    'our loop: lanes, slots, results',
  ],
  [/^src\/(core|providers)\//, 'our rules: buckets, decisions, lane states'],
  [
    /^src\/(intake|mailer|options|freeze|render|envelope|ticket|address|turnstile|aborts)\.ts/,
    'our intake: checks, freezing',
  ],
  [
    /^src\/(attempt|answer|body|quicken|follow|socket-write|gate|transporter|mx\/wire)\.ts/,
    'our attempt: hand-over, replies',
  ],
  [/^src\//, 'ours, other'],
  [/p-queue|p-timeout|eventemitter3/, 'p-queue'],
  [/nodemailer/, 'nodemailer: pool, SMTP, building'],
  [/better-sqlite3|node:sqlite/, 'SQLite itself'],
  [/^node:/, 'Node: streams, sockets, timers'],
  [/^bench\//, 'this bench'],
]

/** SQLite is native code: its calls have a name and no file. */
const SQLITE_CALLS = new Set(['run', 'get', 'all', 'exec', 'prepare'])

function partOf(file: string, name: string): string {
  if (name === '(garbage collector)') return 'garbage collection'
  if (name === '(program)' || name === '(idle)') return name.slice(1, -1)
  if (file === '') return SQLITE_CALLS.has(name) ? 'SQLite itself' : 'native: sockets, buffers'
  return PARTS.find(([pattern]) => pattern.test(file))?.[1] ?? file
}

const bundles = new Map<string, readonly string[]>()

/** The source module that a line of a bundle came from: esbuild writes its name above. */
function moduleAt(url: string, line: number): string {
  const file = url.replace(/^file:\/\//, '')
  if (!/\/dist\/[^/]+\.js$/.test(file))
    return file.replace(/^.*\/(node_modules|bench)\//, (_, at) => (at === 'bench' ? 'bench/' : ''))
  const lines = bundles.get(file) ?? readFileSync(file, 'utf8').split('\n')
  bundles.set(file, lines)
  for (let at = line; at >= 0; at--) {
    const name = /^\/\/ ((?:src|node_modules)\/\S+)$/.exec(lines[at] ?? '')?.[1]
    if (name !== undefined) return name
  }
  return file
}

/** @param cpu measured, µs a message: on a machine with other work the profile's own times are too long, its shares are not */
function sumUp(profile: Profile, cpu: number): void {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const parts = new Map<string, number>()
  const functions = new Map<string, number>()
  const add = (sums: Map<string, number>, key: string, us: number) => sums.set(key, (sums.get(key) ?? 0) + us)
  profile.samples?.forEach((id, at) => {
    const us = profile.timeDeltas?.[at] ?? 0
    const { callFrame } = nodes.get(id) ?? { callFrame: { functionName: '', url: '', lineNumber: 0 } }
    const file = callFrame.url === '' ? '' : moduleAt(callFrame.url, callFrame.lineNumber)
    const name = callFrame.functionName || '(anonymous)'
    if (file === '' && name === 'dispatch') return // the profiler's own
    add(parts, partOf(file, name), us)
    add(functions, `${name}  ${file}`, us)
  })
  const busy = [...parts].reduce((sum, [part, us]) => (part === 'idle' ? sum : sum + us), 0)
  const print = (sums: Map<string, number>, most: number) => {
    for (const [key, us] of [...sums].sort((a, b) => b[1] - a[1]).slice(0, most)) {
      if (key === 'idle' || key.startsWith('(idle)')) continue
      console.log(
        `${((cpu * us) / busy).toFixed(1).padStart(8)} µs ${((100 * us) / busy).toFixed(1).padStart(5)} %  ${key}`,
      )
    }
  }
  console.log('by part, as shares of the main thread:')
  print(parts, 20)
  console.log('by function, alone:')
  print(functions, TOP)
}

const sink = await startSink()
try {
  const base = await baseline(sink.port, Math.min(messages, 5_000))
  console.log(`nodemailer's pool: ${base.cpu.toFixed(0)} µs of CPU a message`)
  for (const name of chosen) {
    const way = ways[name]
    if (way === undefined) throw new Error(`'${name}' is none of ${Object.keys(ways).join('; ')}`)
    await way(sink.port, Math.min(messages, 5_000)) // compiled before it is measured
    const session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: 200 })
    await session.post('Profiler.start')
    const { cpu } = await way(sink.port, messages)
    const { profile } = (await session.post('Profiler.stop')) as { profile: Profile }
    session.disconnect()
    const file = join(tmpdir(), `steadymail-${name.replace(/\W+/g, '-')}.cpuprofile`)
    writeFileSync(file, JSON.stringify(profile))
    console.log(
      `\n${name}, ${messages} messages: ${cpu.toFixed(0)} µs of CPU a message, all threads, profiler included; ${file}`,
    )
    sumUp(profile, cpu)
  }
} finally {
  sink.close()
  cleanUp()
}
