// An AWS Lambda function: `handler` is called with each event.
export const handler = async (event, context) => {
  // A call of the function's URL carries its parameters here; a direct call is the event itself.
  const { name = "world" } = event.queryStringParameters ?? event;
  console.log(`greeting ${name}`);
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: `hello, ${name}`, request: context.awsRequestId }),
  };
};
