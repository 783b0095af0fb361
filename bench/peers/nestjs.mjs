// A NestJS gateway on Socket.IO, as a peer of jobcast. README.md tells what it
// answers. Decorators are applied as functions, so nothing has to be compiled.
import 'reflect-metadata';
import { Body, Controller, Get, HttpCode, Inject, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ConnectedSocket, MessageBody, SubscribeMessage, WebSocketGateway, WebSocketServer } from '@nestjs/websockets';
import { announce, authenticate, forgetRequests, greeting, isRoom, options, port, publish } from './common.mjs';

/** What TypeScript makes of decorators on a class, its constructor's or a method's parameters, or a method. */
function decorate(type, ...decorators) {
  Reflect.decorate(decorators, type);
}

function decorateMethod(type, name, decorators, parameters = []) {
  const { prototype } = type;
  parameters.forEach((parameter, i) => parameter(prototype, name, i));
  Reflect.decorate(decorators, prototype, name, Object.getOwnPropertyDescriptor(prototype, name));
}

class JobsGateway {
  afterInit(jobs) {
    authenticate(jobs);
    forgetRequests(jobs);
  }

  handleConnection(socket) {
    socket.emit('connected', greeting(socket));
  }

  subscribe(socket, message) {
    const jobId = message?.jobId;
    if (!isRoom(jobId)) return undefined;
    socket.join(`job:${jobId}`);
    socket.emit('subscribed', { jobId });
    return { jobId }; // the acknowledgement, if one was asked for
  }
}
WebSocketServer()(JobsGateway.prototype, 'jobs');
decorateMethod(JobsGateway, 'subscribe', [SubscribeMessage('subscribe')], [ConnectedSocket(), MessageBody()]);
decorate(JobsGateway, WebSocketGateway({ namespace: '/jobs', ...options }));

class PublishController {
  constructor(gateway) {
    this.gateway = gateway;
  }

  publish(room, body) {
    return { lastEventId: publish(this.gateway.jobs, room, body) };
  }

  memory() {
    globalThis.gc?.();
    return {};
  }
}
decorateMethod(PublishController, 'publish', [Post('publish/:room'), HttpCode(200)], [Param('room'), Body()]);
decorateMethod(PublishController, 'memory', [Get('memory')]);
decorate(PublishController, Controller(), (type) => Inject(JobsGateway)(type, undefined, 0));

class AppModule {}
decorate(AppModule, Module({ controllers: [PublishController], providers: [JobsGateway] }));

const app = await NestFactory.create(AppModule, { logger: false, bodyParser: false });
app.useBodyParser('json', { limit: '10mb' }); // an array of events is more than the usual 100 kB
await app.listen(port, '127.0.0.1');
announce(app.getHttpServer());
