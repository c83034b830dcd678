// Greets by name: an ordinary AWS Lambda function.
export const handler = async (event, context) => {
  const name = event?.name ?? "world";
  console.log(`greeting ${name}`);
  return { message: `hello, ${name}`, request: context.awsRequestId };
};
