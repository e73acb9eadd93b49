// Real mail servers with little patience, each in a folder of its own, on a free port of 127.0.0.1. They
// take mail for everybody and throw it away. Their clocks are real, so the spans are short.

import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from './debian.ts'

export interface RealServer {
  readonly port: number
  stop(): Promise<void>
}

/** Postfix, with these lines of main.cf. */
export async function postfix(
  folder: string,
  settings: Readonly<Record<string, string>>,
): Promise<RealServer> {
  const port = await freePort()
  mkdirSync(folder, { recursive: true })
  for (const name of ['queue', 'data']) mkdirSync(join(folder, name))
  chmodSync(folder, 0o755)
  const id = (what: 'u' | 'g') => Number(execFileSync('id', [`-${what}`, 'postfix'], { encoding: 'utf8' }))
  chownSync(join(folder, 'data'), id('u'), id('g'))
  const main = {
    compatibility_level: '3.6',
    queue_directory: join(folder, 'queue'),
    data_directory: join(folder, 'data'),
    maillog_file: join(folder, 'log'),
    maillog_file_prefixes: folder,
    daemon_directory: '/usr/lib/postfix/sbin',
    command_directory: '/usr/sbin',
    myhostname: 'mx.real.test',
    mydestination: '',
    mynetworks: '',
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    smtpd_peername_lookup: 'no',
    relay_domains: 'real.test',
    smtpd_relay_restrictions: 'reject_unauth_destination',
    smtpd_client_event_limit_exceptions: '',
    relay_transport: 'discard:',
    ...settings,
  }
  writeFileSync(
    join(folder, 'main.cf'),
    Object.entries(main)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join(''),
  )
  const services = [
    `127.0.0.1:${port} inet n - n - - smtpd`,
    'postlog unix-dgram n - n - 1 postlogd',
    'cleanup unix n - n - 0 cleanup',
    'qmgr unix n - n 300 1 qmgr',
    'rewrite unix - - n - - trivial-rewrite',
    'anvil unix - - n - 1 anvil',
    'discard unix - - n - - discard',
    'proxymap unix - - n - - proxymap',
    ...['bounce', 'defer', 'trace'].map((name) => `${name} unix - - n - 0 bounce`),
    ...['error', 'retry'].map((name) => `${name} unix - - n - - error`),
  ]
  writeFileSync(join(folder, 'master.cf'), services.map((line) => `${line}\n`).join(''))
  execFileSync('postfix', ['-c', folder, 'start'], { stdio: 'ignore' })
  await listening(port)
  return {
    port,
    async stop() {
      execFileSync('postfix', ['-c', folder, 'stop'], { stdio: 'ignore' })
    },
  }
}

/** postgrey, for Postfix to ask; `delay` seconds for every new triplet. */
export async function postgrey(folder: string, delay: number): Promise<RealServer> {
  const port = await freePort()
  mkdirSync(folder, { recursive: true, mode: 0o777 })
  chmodSync(folder, 0o777)
  return daemon(port, '/usr/sbin/postgrey', [
    `--inet=127.0.0.1:${port}`,
    `--delay=${delay}`,
    `--dbdir=${folder}`,
    // a client that has proved itself would be let through; here every recipient is a stranger
    '--auto-whitelist-clients=0',
  ])
}

/** Exim, which defers above one rate and hangs up above twice that; refused tries count too. */
export async function exim(
  folder: string,
  { program, env }: { program: string; env: Record<string, string> },
  rate: { readonly count: number; readonly seconds: number },
): Promise<RealServer> {
  const port = await freePort()
  mkdirSync(join(folder, 'spool'), { recursive: true, mode: 0o777 })
  mkdirSync(join(folder, 'log'), { mode: 0o777 })
  for (const name of ['.', 'spool', 'log']) chmodSync(join(folder, name), 0o777)
  const limit = (factor: number) =>
    `ratelimit = ${rate.count * factor} / ${rate.seconds}s / per_mail / strict`
  const file = join(folder, 'exim.conf')
  writeFileSync(
    file,
    `primary_hostname = mx.real.test
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%slog
pid_file_path = ${folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
smtp_accept_max = 200
smtp_accept_max_per_connection = 0
acl_smtp_mail = patience
acl_smtp_rcpt = everybody
acl_smtp_data = nothing
begin acl
patience:
  drop message = 421 4.7.0 Too many messages from $sender_host_address, try again later
       ${limit(2)}
  defer message = 451 4.7.1 $sender_host_address is over its limit of ${rate.count} messages per ${rate.seconds} seconds, try again later
       ${limit(1)}
  accept
everybody:
  accept
nothing:
  discard
begin routers
begin transports
begin retry
`,
  )
  chmodSync(file, 0o644)
  return daemon(port, program, ['-bdf', '-C', file], env)
}

async function daemon(port: number, program: string, args: readonly string[], env = {}): Promise<RealServer> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => (said += piece))
  const ended = new Promise<never>((_resolve, reject) => {
    child.once('exit', () => reject(new Unavailable(`${program} ended: ${said.trim().slice(0, 300)}`)))
  })
  ended.catch(() => {})
  await Promise.race([listening(port), ended])
  return {
    port,
    async stop() {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await Promise.race([gone, sleep(3000).then(() => child.kill('SIGKILL'))])
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

async function listening(port: number): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await sleep(100)
  }
  throw new Unavailable(`nothing listens on port ${port}`)
}
