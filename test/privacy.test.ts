// What leaves the mailer by its logger and its events: never a body, never credentials; addresses shortened in logs.

import { type EventName, wrapTransport } from 'steadymail'
import { expect, it } from 'vitest'
import { HOUR, world } from './scenarios/world.ts'

const BODY = 'the-secret-of-the-body'
const PASSWORD = 'the-secret-of-the-login'

const EVENTS: readonly EventName[] = [
  ...(['queued', 'accepted', 'deferred', 'failed', 'uncertain', 'parked', 'settled'] as const),
  ...(['held', 'probing', 'recovering', 'opened', 'adapted', 'trouble', 'owner'] as const),
]

it('logs and events carry neither body nor credentials, and logs shorten addresses', async () => {
  const logged: unknown[] = []
  const take = (...given: unknown[]) => logged.push(given)
  const w = await world({
    logger: { debug: take, info: take, warn: take, error: take },
    auth: { user: 'someone', pass: PASSWORD },
    smtp: {
      auth: { users: { someone: PASSWORD } },
      script: [
        { on: 'rcpt', to: 'alexandra@late.test', times: 1, answer: '421 4.7.0 Too many messages' },
        { on: 'rcpt', to: 'bartholomew@gone.test', answer: '550 5.1.1 User unknown' },
        { on: 'dot', from: 'lost@sender.test', answer: { deliver: true, and: 'drop' } },
      ],
    },
  })
  const heard: unknown[] = []
  for (const name of EVENTS) w.mailer.on(name, (event) => heard.push([name, event]))
  const tickets = await Promise.all(
    ['alexandra@late.test', 'bartholomew@gone.test', 'christopher@fine.test'].map((to) =>
      w.mailer.sendWithRetry({ from: 'shop@sender.test', to, subject: BODY, text: BODY, html: BODY }),
    ),
  )
  await w.mailer.sendWithRetry(
    { from: 'lost@sender.test', to: 'dorothea@fine.test', subject: BODY, text: BODY },
    { onUncertain: 'park' },
  )
  await w.run(Promise.all(tickets.map((ticket) => ticket.settled())))
  await w.pass(HOUR)
  // a login that is refused is told of, without the login
  w.server.use({ on: 'auth', answer: '535 5.7.8 Authentication credentials invalid' })
  await w.send('emilia@fine.test')
  await w.pass(HOUR)

  const logs = JSON.stringify(logged)
  const events = JSON.stringify(heard)
  for (const kind of ['accepted', 'deferred', 'failed', 'parked', 'lane held', 'trouble'])
    expect(logs).toContain(`"${kind}"`)
  for (const secret of [BODY, PASSWORD, Buffer.from(PASSWORD).toString('base64')]) {
    expect(logs).not.toContain(secret)
    expect(events).not.toContain(secret)
  }
  for (const name of ['alexandra', 'bartholomew', 'christopher', 'dorothea'])
    expect(logs).not.toContain(`${name}@`)
})

it('no error repeats the credentials of a URL', () => {
  const make = () =>
    wrapTransport(`smtp://someone:${PASSWORD}@mx.test:99999`, { store: 'none', policies: 7 } as never)
  let said = ''
  try {
    make()
  } catch (error) {
    said = `${String(error)} ${JSON.stringify(error)}`
  }
  expect(said).toContain('store')
  expect(said).not.toContain(PASSWORD)
})
