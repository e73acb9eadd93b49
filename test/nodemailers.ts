// Every nodemailer that steadymail supports, under one type, for tests that must hold on all of them.

import { createRequire } from 'node:module'
import { type SmtpServer, type SmtpServerOptions, smtpServer } from '../src/testing/smtp-server.ts'
import type { InnerTransporter } from '../src/transporter.ts'

const require = createRequire(import.meta.url)

export interface Nodemailer {
  createTransport(
    options: unknown,
    defaults?: unknown,
  ): InnerTransporter & {
    use(step: string, plugin: (mail: never, done: (error?: Error) => void) => void): unknown
    close(): void
  }
}

export const MAJORS: readonly { readonly major: number; readonly nodemailer: Nodemailer }[] = [
  { major: 7, nodemailer: require('nodemailer7') as Nodemailer },
  { major: 8, nodemailer: require('nodemailer8') as Nodemailer },
  { major: 9, nodemailer: require('nodemailer9') as Nodemailer },
  { major: 10, nodemailer: require('nodemailer') as Nodemailer },
]

/** Every major, with and without a pool. */
export const TRANSPORTERS = MAJORS.flatMap(({ major, nodemailer }) => [
  { name: `nodemailer ${major}`, major, nodemailer, pool: false },
  { name: `nodemailer ${major}, pooled`, major, nodemailer, pool: true },
])

/** Runs with a server, and closes it. */
export async function withServer<T>(
  options: SmtpServerOptions,
  run: (server: SmtpServer) => Promise<T>,
): Promise<T> {
  const server = await smtpServer(options)
  try {
    return await run(server)
  } finally {
    await server.close()
  }
}

/** A logger of a pool: with one, nodemailer's connections are left to speak as they do. */
export function silent() {
  const log = () => {}
  return { trace: log, debug: log, info: log, warn: log, error: log, fatal: log }
}
